"""The base of all data sets of videos with captions.

A subclass lists the videos and captions of a split (`_videos`). This base handles empty captions and missing videos.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText
from side4video.data.annotations.json_files import as_list, as_text
from side4video.data.annotations.missing_files import (
    KeepSpec,
    MissingFiles,
    RaiseSpec,
    SkipSpec,
    drop_missing,
    warn_once,
)
from side4video.data.annotations.tables import read_text, shorten_list
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside, root_address

Extension = Annotated[str, Field(pattern=r"^\.\w+$")]
"""Extension of the video files, with the dot."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption, and where it was read."""

    text: str
    """Without surrounding spaces; may be empty."""
    origin: str
    """File and line, or file and entry."""


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video of a split, as it is listed. Its file may be missing."""

    path: str
    """Relative to the root."""
    origin: str
    """File and line that list it."""
    captions: tuple[Caption, ...]
    """In the order of the file."""
    is_paragraph: bool = False
    """Whether the captions are sentences of one text."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    group: str = ""


class CaptionedSpec(DatasetSpec):
    """Videos with captions and without classes."""

    annotations: Annotated[PathText, Field(min_length=1)]
    """Folder of the original annotation files, unchanged; may contain `${NAME}`. A relative path starts at the folder
    that the command runs in."""
    root: PathText = ""
    """Folder of the video files, or an address such as `s3://bucket/msrvtt`; may contain `${NAME}`. Empty: the folder
    of the annotations."""
    empty_captions: MissingFiles = RaiseSpec()
    """What happens to captions without text, and to videos without any other caption: raise an error, or skip them."""
    missing_videos: MissingFiles = RaiseSpec()
    """What happens to listed videos whose file is missing: raise an error, or skip them."""

    def classes(self) -> tuple[str, ...]:
        """Empty: there are captions instead of classes."""
        return ()

    @listed_once
    def clips(self, split: Split) -> list[Clip]:
        """The videos of a split in the order of its list, captions in the order of their file.

        Raises:
            InputError: A list is missing or wrong (file and line are named), a caption or a video is missing and may
                not be, or none is left.
        """
        root, where = self._root(), f"{self._annotations()} ({split})"
        videos = self._videos(split)
        described = _with_captions(videos, self.empty_captions, where)
        clips = [_as_clip(video, root) for video in described]
        present = drop_missing(clips, self.missing_videos, where=where, root=root)
        if not present:
            raise InputError(
                str(self._annotations()),
                f"no video is for {split}: {len(videos)} are listed, {len(described)} have captions, 0 are there",
                fix="check the lists, and `root`",
            )
        return present

    def flipped_classes(self) -> Mapping[int, int]:
        """Empty: there are no classes."""
        return {}

    def _videos(self, split: Split) -> list[ListedVideo]:
        """All listed videos of the split."""
        raise NotImplementedError

    def _annotations(self) -> Path:
        return Path(expand(self.annotations, "data.dataset.annotations"))

    def _file(self, name: str) -> Path:
        return self._annotations() / name

    def _root(self) -> str:
        annotations = self._annotations()
        folder = annotations.parent if annotations.is_file() else annotations
        return root_address(self.root or str(folder), "data.dataset.root")


def read_ids(path: Path) -> dict[str, str]:
    """The video ids of a list, one a line, in order; and file and line of each.

    Raises:
        InputError: The file is missing, empty or not UTF-8, or an id appears twice.
    """
    lines = [(line.strip(), f"{path}:{number}") for number, line in enumerate(read_text(path).split("\n"), 1)]
    if not any(line for line, _ in lines):
        raise InputError(str(path), "the list is empty", fix="it needs one video id per line")
    return index_by_id((line, origin) for line, origin in lines if line)


def index_by_id(listed: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each id to where it is listed.

    Each id comes with its file and line or entry.

    Raises:
        InputError: An id appears twice.
    """
    origins: dict[str, str] = {}
    for identifier, origin in listed:
        if identifier in origins:
            raise InputError(
                origin,
                f"the video {identifier!r} is listed twice, first in {origins[identifier]}",
                fix="remove one of the two",
            )
        origins[identifier] = origin
    return origins


def read_captions(values: Any, origin: str) -> tuple[Caption, ...]:
    """The captions of a video from a list of texts.

    Raises:
        InputError: It is no list, or holds something else; the entry is named.
    """
    return tuple(
        Caption(as_text(value, f"{origin}[{position}]").strip(), f"{origin}[{position}]")
        for position, value in enumerate(as_list(values, origin))
    )


def listed_videos(
    ids: Mapping[str, str], captions: Mapping[str, Sequence[Caption]], extension: str
) -> list[ListedVideo]:
    """Listed videos whose file name is their id and an extension.

    `captions` are by id; it may hold more than the listed, and may lack some of them. `extension` follows the id in the
    file's name.
    """
    return [
        ListedVideo(f"{identifier}{extension}", origin, tuple(captions.get(identifier, ())))
        for identifier, origin in ids.items()
    ]


def _with_captions(videos: Sequence[ListedVideo], policy: MissingFiles | KeepSpec, where: str) -> list[ListedVideo]:
    """The videos that have a caption. The policy says what happens to empty captions."""
    if isinstance(policy, KeepSpec):
        return list(videos)
    empty = [caption for video in videos for caption in video.captions if not caption.text]
    bare = [video for video in videos if not any(caption.text for caption in video.captions)]
    if isinstance(policy, SkipSpec):
        if empty or bare:
            warn_once(
                f"{where}: left out {len(empty)} empty captions and {len(bare)} videos that have no other caption"
            )
        return [video for video in videos if any(caption.text for caption in video.captions)]
    way_out = "or leave them out with `empty_captions: {kind: skip}`"
    if empty:
        origins = shorten_list([Path(caption.origin).name for caption in empty])
        raise InputError(
            empty[0].origin, f"an empty caption, the first of {len(empty)}: {origins}", fix=f"fill them in, {way_out}"
        )
    if bare:
        names = shorten_list([video.path for video in bare])
        raise InputError(
            bare[0].origin,
            f"{len(bare)} of {len(videos)} listed videos have no caption: {names}",
            fix=f"get the whole file of captions, {way_out}",
        )
    return list(videos)


def _as_clip(video: ListedVideo, root: str) -> Clip:
    texts = [caption.text for caption in video.captions if caption.text]
    return Clip(
        path=resolve_inside(root, video.path, video.origin),
        label=None,
        captions=(" ".join(texts),) if video.is_paragraph else tuple(texts),
        start_seconds=video.start_seconds,
        end_seconds=video.end_seconds,
        group=video.group,
        origin=video.origin,
    )
