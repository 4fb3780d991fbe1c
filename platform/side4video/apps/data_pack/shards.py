"""Shards: tar archives of videos, each beside a small JSON file of its own, as WebDataset reads them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from side4video.data.manifest import Shard
from side4video.data.storage import read_bytes


def write_shard(path: Path, members: Iterable[tuple[str, Path, dict[str, Any]]]) -> None:
    """An archive of videos, whole or not at all; the same bytes for the same members.

    Args:
        path: The archive.
        members: Of each video its name in the archive, its file, and what its JSON file says. A video whose file is
            not there is left out; its JSON file says why.
    """
    partial = path.with_name(f"{path.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, file, about in members:
            text = json.dumps(about, ensure_ascii=False).encode()
            if file.is_file():
                with file.open("rb") as content:
                    archive.addfile(_info(name, file.stat().st_size), content)
            archive.addfile(_info(f"{name.rpartition('.')[0]}.json", len(text)), io.BytesIO(text))
    partial.replace(path)


def read_member(address: str) -> dict[str, Any]:
    """What a JSON file of a shard says."""
    return dict(json.loads(read_bytes(address)))


def describe_shard(path: Path) -> Shard:
    """Name, size and SHA-256 of a shard."""
    with path.open("rb") as file:
        return Shard(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644  # no time and no owner: they would differ from one packing to the next
    return info
