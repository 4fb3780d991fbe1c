"""Lists the files in a tar archive and the byte range of each, so that each can be read alone."""

import os
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from side4video.core.errors import InputError
from side4video.data.storage import file_size, is_remote, modified_ns, part_address


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar archive."""

    name: str
    """Name in the archive; never used as a path."""
    address: str
    """Address of its bytes."""


def list_members(address: str) -> tuple[Member, ...]:
    """The files of an uncompressed archive, in order, without folders, links and devices.

    Only headers are read. The result is cached until the archive changes.

    Raises:
        InputError: There is no such archive, or it is compressed, cut short or none.
    """
    size = file_size(address)
    if size is None:
        raise InputError(address, "there is no such archive", fix="check `root` and the names of the shards")
    return _members(address, size, modified_ns(address))


@lru_cache(maxsize=4096)
def _members(address: str, size: int, modified: int) -> tuple[Member, ...]:  # noqa: ARG001 - for the cache
    try:
        with _open(address) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            found = [(info.name, info.offset_data, info.size) for info in archive if info.isreg()]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            address,
            f"not an uncompressed tar archive: {' '.join(str(error).split())[:160]}",
            fix="unpack it with gunzip: members of a compressed archive cannot be read alone; or fetch it again",
        ) from error
    if found and max(first + count for _, first, count in found) > size:
        raise InputError(address, f"the archive ends before its last file, at byte {size:,}", fix="fetch it again")
    return tuple(Member(name, part_address(address, first, count)) for name, first, count in found)


def _open(address: str) -> Any:
    if not is_remote(address):
        return open(address, "rb", buffering=tarfile.BLOCKSIZE)  # noqa: PTH123 - closed by the caller
    from fsspec.core import url_to_fs

    # Headers are small and far apart. With larger read-ahead blocks most of the archive would be downloaded.
    return url_to_fs(address)[0].open(address, "rb", block_size=8 * tarfile.BLOCKSIZE, cache_type="readahead")


def split_member_name(name: str) -> tuple[str, str]:
    """Sample name and field of a member: WebDataset divides names at the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    sample, _, field = last.partition(".")
    return f"{folder}{slash}{sample}", field.lower()


def shard_name(split: str, number: int) -> str:
    """File name of a shard that `side4video data pack` writes."""
    return f"{split}-{number:06d}.tar"


def is_hidden(name: str) -> bool:
    """Whether the file was added by an operating system, such as `._a.mp4` or `__MACOSX/a`."""
    return os.path.basename(name).startswith(".") or name.startswith("__MACOSX/")  # noqa: PTH119
