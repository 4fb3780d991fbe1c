"""The manifest that `side4video data pack` writes beside the shards: where each clip is, and its source.

manifest.json settings, classes, the shards with their sizes and SHA-256, clips that were left out clips.jsonl one clip
per line, in the order of the original data set
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from side4video.core.bounded_files import parse_json
from side4video.core.errors import InputError
from side4video.data.clip import Clip, Split
from side4video.data.storage import file_size, is_remote, join_address, modified_ns, part_address, read_bytes

FORMAT = 1
"""Increased whenever older folders would be read wrongly."""
MANIFEST, CLIPS = "manifest.json", "clips.jsonl"


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar shard."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    source: str
    """Fingerprint of the original data set."""
    encoding: dict[str, Any]
    """Encoding of the videos."""
    classes: tuple[str, ...]
    mirrored: dict[str, int] | None
    """The label permutation of a horizontal flip, by label; None where flips are not allowed."""
    shards: tuple[Shard, ...]
    clips_sha256: str
    left_out: tuple[dict[str, str], ...] = ()
    """Videos that could not be decoded: path, origin and reason."""
    format: int = field(default=FORMAT)
    heads: dict[str, list[str]] = field(default_factory=dict)
    """Classes of each head; not written if there are none."""
    mirrored_heads: list[dict[str, int]] | None = None
    """`mirrored` of each head; not written without heads."""

    def as_text(self) -> str:
        """The content of `manifest.json`."""
        document = asdict(self)
        if not self.heads:
            del document["heads"], document["mirrored_heads"]
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def fingerprint(self) -> str:
        """For a bit-exact copy, the fingerprint of the original; otherwise the hash of the manifest."""
        is_copy = self.encoding.get("codec") == "copy" and not self.left_out
        return self.source if is_copy else hashlib.sha256(self.as_text().encode()).hexdigest()


def clip_record(clip: Clip, split: Split, *, shard: str, extent: tuple[int, int], name: str) -> dict[str, Any]:
    """A line of `clips.jsonl`; what is not known is left out."""
    record: dict[str, Any] = {
        "split": split,
        "shard": shard,
        "first": extent[0],
        "bytes": extent[1],
        "name": name,
        "label": clip.label,
        "captions": list(clip.captions),
        "start": clip.start_seconds,
        "end": clip.end_seconds,
        "reversed": clip.reversed,
        "group": clip.group,
    }
    # Compared by identity, because label 0 equals False.
    kept = {key: value for key, value in record.items() if value is not None and value is not False and value != []}
    if clip.labels is not None:  # an empty list means that the clip has none of the classes
        kept["labels"] = list(clip.labels)
    if clip.head_labels:
        kept["head_labels"] = list(clip.head_labels)
    return kept


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        InputError: The folder holds none, a broken one, or one of a newer version.
    """
    address = join_address(folder, MANIFEST)
    size = file_size(address)
    return _read_manifest(address, size, 0 if size is None else modified_ns(address))


@lru_cache(maxsize=8)
def _read_manifest(address: str, size: int | None, modified: int) -> Manifest:  # noqa: ARG001 - for the cache
    document = _json(_read(address), address)
    try:
        if document["format"] > FORMAT:
            raise InputError(
                address, f"format {document['format']}", allowed=f"up to {FORMAT}", fix="update side4video"
            )
        document["shards"] = tuple(Shard(**each) for each in document["shards"])
        document |= {key: tuple(document[key]) for key in ("classes", "left_out")}
        return Manifest(**document)
    except (KeyError, TypeError) as error:
        raise InputError(address, f"no manifest: {error}", fix="pack the data set again") from error


def read_clips(folder: str, manifest: Manifest) -> tuple[tuple[Split, Clip], ...]:
    """All clips with their split, in order.

    Raises:
        InputError: The list is missing, or not the one that the manifest was written with.
    """
    return _read_clips(folder, manifest.clips_sha256)


@lru_cache(maxsize=2)
def _read_clips(folder: str, sha256: str) -> tuple[tuple[Split, Clip], ...]:
    address = join_address(folder, CLIPS)
    content = _read(address)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(address, "it is not the list that the manifest was written with", fix="copy the folder again")
    lines = content.decode().splitlines()
    return tuple(_as_clip(_json(line, f"{address}:{number}"), folder, number) for number, line in enumerate(lines, 1))


def _as_clip(record: dict[str, Any], folder: str, number: int) -> tuple[Split, Clip]:
    clip = Clip(
        path=part_address(join_address(folder, record["shard"]), record["first"], record["bytes"]),
        label=record.get("label"),
        captions=tuple(record.get("captions", ())),
        start_seconds=record.get("start"),
        end_seconds=record.get("end"),
        reversed=record.get("reversed", False),
        group=record.get("group", ""),
        name=record["name"],
        origin=f"{join_address(folder, CLIPS)}:{number} ({record['name']})",
        labels=tuple(record["labels"]) if "labels" in record else None,
        head_labels=tuple(record.get("head_labels", ())),
    )
    return record["split"], clip


def _read(address: str) -> bytes:
    try:
        return read_bytes(address)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            address,
            "there is no such file" if missing else f"it cannot be read: {error.strerror or error}",
            fix="`root` is a folder that `side4video data pack` finished"
            + (
                ""
                if is_remote(address) or not Path(address).parent.is_dir()
                else "; the same command continues with it"
            ),
        ) from error


def _json(text: bytes | str, where: str) -> dict[str, Any]:
    try:
        document = parse_json(text)
    except ValueError as error:
        raise InputError(where, f"not JSON: {error}", fix="pack the data set again") from error
    if not isinstance(document, dict):
        raise InputError(where, f"a {type(document).__name__}", allowed="a JSON object", fix="pack the data set again")
    return document
