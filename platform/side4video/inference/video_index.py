"""What is kept of the videos of a folder: one file, in safetensors' form, so that only new videos are decoded.

A row is what the matching keeps of a video. The header says what the rows are of (files, by name, size and time of
change) and what made them (run, weights, the sections of its spec that matter); a checksum over all of it tells a
damaged file. A file is written beside its place and then moved there: it is whole, or it is the one from before.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from side4video.core.bounded_files import check_weights_file
from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.paths import home
from side4video.core.progress import Progress
from side4video.inference.video_folder import VideoFile
from side4video.tasks.retrieval.matching import Embeddings

FORMAT = 1
"""Raised whenever files of before would be read wrongly."""
HEADER, CHECKSUM = "side4video-search", "sha256"
SUFFIX = ".safetensors"
SAVE_EVERY_SECONDS = 60.0
"""What a process that is killed may lose."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A video that was read."""

    file: VideoFile
    seconds: float | None
    """Its length, where its header says it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A video that cannot be read."""

    file: VideoFile
    reason: str


@dataclass(frozen=True)
class EmbeddedVideos:
    """Some videos that were looked at, and what is kept of them, rows first."""

    entries: Sequence[Entry]
    kept: Embeddings
    broken: Sequence[Broken] = ()


EmbedVideos = Callable[[Sequence[VideoFile]], Iterator[EmbeddedVideos]]


@dataclass
class FolderIndex:
    """What is known of the videos of a folder; the rows of `kept` are those of `entries`."""

    entries: list[Entry] = field(default_factory=list)
    kept: Embeddings = ()
    broken: list[Broken] = field(default_factory=list)

    def of(self, files: Sequence[VideoFile]) -> "FolderIndex":
        """What is known of these files as they are now, in their order."""
        rows = {entry.file: row for row, entry in enumerate(self.entries)}
        chosen = [rows[file] for file in files if file in rows]
        broken = {each.file: each for each in self.broken}
        return FolderIndex(
            [self.entries[row] for row in chosen],
            tuple(tensor[chosen] for tensor in self.kept),
            [broken[file] for file in files if file in broken],
        )

    def with_all(self, seen: Sequence[EmbeddedVideos]) -> "FolderIndex":
        """The same and what was seen since."""
        parts = [part for part in (self.kept, *(each.kept for each in seen)) if part and len(part[0])]
        return FolderIndex(
            [*self.entries, *(entry for each in seen for entry in each.entries)],
            tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True)),
            [*self.broken, *(broken for each in seen for broken in each.broken)],
        )


def index_path(option: str | None, *, run_id: str, weights: str, folder: Path) -> Path:
    """The file of an index.

    `option` is a file that ends in `.safetensors`, a folder, or None for `$SIDE4VIDEO_HOME/search`.

    Raises:
        InputError: It cannot be a folder, because it is a file, or it cannot be written to.
    """
    if option and option.endswith(SUFFIX) and not Path(option).is_dir():
        place = Path(option)
    else:
        number = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
        place = (Path(option) if option else home() / "search") / f"{run_id[:12]}-{weights}-{number}{SUFFIX}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(place.parent, os.W_OK):
            raise PermissionError(f"{place.parent} may not be written to")
    except OSError as error:
        raise InputError(
            "--index", f"{option or place.parent}: {error.strerror or error}", allowed=f"a folder, or a file *{SUFFIX}"
        ) from error
    return place


class IndexFile:
    """The file of an index."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Nothing is read yet.

        `about` has JSON values that the embeddings depend on, beside the videos.
        """
        self.path, self.about = path, {"format": FORMAT, **about}
        self.notes: list[str] = []
        """Why an index was not used, or not written."""

    def read(self) -> FolderIndex:
        """The stored index. Of a damaged file, or one of another run, it is empty, and there is a note.

        Raises:
            InputError: The file is whole, and no index, so not ours to replace; or it cannot be opened.
        """
        if not self.path.exists():
            return FolderIndex()
        try:
            check_weights_file(self.path)
            with safe_open(str(self.path), "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, ValueError) as error:
            return self._ignore(f"is damaged ({error})")
        except OSError as error:
            raise InputError("--index", f"{self.path} cannot be read: {error}", fix="name another place") from error
        if HEADER not in header:
            raise InputError(
                "--index", f"{self.path} holds something else", allowed="an index, or no file", fix="name another file"
            )
        if header.get(CHECKSUM) != self.checksum(header[HEADER], tensors):
            return self._ignore("is damaged (its checksum is another one)")
        document = json.loads(header[HEADER])
        if document["about"] != json.loads(json.dumps(self.about)):
            return self._ignore("was made with another run, folder or version")
        return FolderIndex(
            [Entry(VideoFile(*stamp), seconds) for *stamp, seconds in document["videos"]],
            tuple(tensors[f"kept{number}"] for number in range(len(tensors))),
            [Broken(VideoFile(*stamp), reason) for *stamp, reason in document["broken"]],
        )

    def checksum(self, header: str, tensors: Mapping[str, torch.Tensor]) -> str:
        """SHA-256 of all that the file holds."""
        whole = hashlib.sha256(header.encode())
        for name in sorted(tensors):
            tensor = tensors[name]
            whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            whole.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return whole.hexdigest()

    def _ignore(self, reason: str) -> FolderIndex:
        self.notes.append(f"the index {self.path} {reason}; it is made anew")
        return FolderIndex()

    def write(self, index: FolderIndex) -> None:
        """Replace the file. If it cannot be written, there is a note: the search goes on without it."""
        document = {
            "about": self.about,
            "videos": [[*_stamp(entry.file), entry.seconds] for entry in index.entries],
            "broken": [[*_stamp(broken.file), broken.reason] for broken in index.broken],
        }
        header = json.dumps(document, separators=(",", ":"))
        tensors = {f"kept{number}": tensor.contiguous() for number, tensor in enumerate(index.kept)}
        try:
            metadata = {HEADER: header, CHECKSUM: self.checksum(header, tensors)}
            write_atomically(self.path, save(tensors, metadata=metadata))
        except OSError as error:
            self.notes.append(f"the index {self.path} could not be written ({error}); the next search begins anew")


def refresh(
    file: IndexFile,
    files: Sequence[VideoFile],
    embed_videos: EmbedVideos,
    progress: Progress,
    *,
    save_every_seconds: float = SAVE_EVERY_SECONDS,
) -> FolderIndex:
    """Update the index of a folder: embed new and changed videos, drop removed ones.

    The index is also saved if embedding fails or is interrupted. `embed_videos` yields embeddings, some videos at a
    time; the index is saved every `save_every_seconds`.
    """
    before = file.read()
    known = before.of(files)
    there = {each.file for each in (*known.entries, *known.broken)}
    missing = [each for each in files if each not in there]
    is_other = len(there) < len(before.entries) + len(before.broken)
    seen: list[EmbeddedVideos] = []
    done, written = 0, time.monotonic()
    try:
        for part in embed_videos(missing) if missing else ():
            seen.append(part)
            done += len(part.entries) + len(part.broken)
            progress.report("looking at videos", done, len(missing))
            if time.monotonic() - written > save_every_seconds:
                file.write(known.with_all(seen).of(files))
                written = time.monotonic()
    finally:
        index = known.with_all(seen).of(files)
        if seen or is_other:
            file.write(index)
    return index


def _stamp(file: VideoFile) -> tuple[str, int, int]:
    return file.name, file.bytes, file.modified_ns
