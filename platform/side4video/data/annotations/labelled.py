"""The base of data sets of labelled videos with one list for training and one for test.

A subclass reads the official files of its data set (`_read_official`). The lists that the code of papers uses instead
have the same form for all data sets and are read here:

    abseiling/a.mp4 0             a video, or a folder of frames, and its class
    100218 42 134                 with the number of frames between them, which is ignored: see `frame_folder.py`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import ADDED_LATER, PathText
from side4video.data.annotations.captioned import index_by_id
from side4video.data.annotations.class_names import label_position, read_class_names, select_classes
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.annotations.missing_files import MissingFiles, RaiseSpec, drop_missing
from side4video.data.annotations.tables import file_version, read_text
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.frame_names import FramePattern
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside, root_address


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """A video as it is listed."""

    name: str
    """Id of the video, or its path relative to the root."""
    label: str
    """A class name, or its index in the classes."""
    origin: str
    """File and line, or file and entry."""
    group: str = ""
    """What it was cut from, if the list or the name says so."""
    start_seconds: float | None = None
    end_seconds: float | None = None


class LabelledSpec(DatasetSpec):
    """Videos with one class each, listed for each split."""

    annotations: Annotated[PathText, Field(min_length=1)]
    """Folder of the annotation files, unchanged; may contain `${NAME}`. A relative path starts at the folder that the
    command runs in."""
    root: PathText = ""
    """Folder of the videos, or an address such as `s3://bucket/k400`; may contain `${NAME}`. Empty: the folder of the
    annotations."""
    test_root: PathText = ""
    """Folder of the test videos, if it is a different one; may contain `${NAME}`."""
    format: Literal["official", "list"] = "official"
    """Format of the lists: the official one, or lines `path label` or `path frames label`."""
    train_list: str
    """Name of the file that lists the training videos."""
    test_list: str
    """Name of the file that lists the test videos."""
    class_names: str
    """Name of the file of class names."""
    frame_pattern: FramePattern = ""
    """File name pattern of the images, if each video is a folder of frames, for example `img_{:05d}.jpg`. Numbers start
    at 1."""
    missing_videos: MissingFiles = RaiseSpec()
    """What happens to listed videos that are missing: raise an error, or skip them."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""
    only_classes: Annotated[PathText, ADDED_LATER] = ""
    """Path of a file of class names, one per line; may contain `${NAME}`. Clips of other classes are left out, and
    classes have the order of this file: a split of the classes for zero-shot recognition. Empty: all classes."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions.

        Raises:
            InputError: A file of class names is missing or wrong, or `only_classes` names what is no class.
        """
        names = self._all_classes()
        if not self.only_classes:
            return names
        path = Path(expand(self.only_classes, "data.dataset.only_classes"))
        return select_classes(path, names, "data.dataset.only_classes")

    def usual_classes(self) -> int:
        """Number of classes that plans assume if the files are not on this machine: those of `only_classes`, if known.

        Otherwise those of the whole data set.
        """
        if not self.only_classes:
            return self.all_usual_classes()
        try:
            path = Path(expand(self.only_classes, "data.dataset.only_classes"))
            return len(read_class_names(path, "data.dataset.only_classes"))
        except InputError:
            return self.all_usual_classes()

    def all_usual_classes(self) -> int:
        """Usual number of classes of the whole data set."""
        return self.DEFAULT_CLASSES

    @listed_once
    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of its list.

        Raises:
            InputError: A list is missing or wrong (file and line are named), a video is missing and may not be, or
                none is left.
        """
        listed, root = self._listed(split), self._root(split)
        index_by_id((_identity(video.name, video), video.origin) for video in listed)
        clips = [
            Clip(
                path=resolve_inside(root, self._path(video), video.origin),
                label=label,
                start_seconds=video.start_seconds,
                end_seconds=video.end_seconds,
                group=video.group,
                frame_pattern=self.frame_pattern,
                origin=video.origin,
            )
            for video, label in zip(listed, self._labels_of(listed), strict=True)
        ]
        # And by their files: `x.mp4`, `./x.mp4` and `/root/x.mp4` are one video.
        paths = (clip.path.removeprefix(f"{root}/") for clip in clips)
        index_by_id((_identity(name, video), video.origin) for name, video in zip(paths, listed, strict=True))
        path = self._list(split)
        if self.only_classes:
            clips = [clip for clip in clips if clip.label is not None]
            if not clips:
                raise InputError(str(path), f"no video is of a class in {self.only_classes}", fix="check only_classes")
        present = drop_missing(clips, self.missing_videos, where=str(path), root=root)
        if not present:
            raise InputError(str(path), f"none of the {len(clips)} listed videos is in {root}", fix="check `root`")
        return present

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        """All videos of an official list."""
        raise NotImplementedError

    def _all_classes(self) -> tuple[str, ...]:
        """Names of all classes of the data set; numbers in lists are positions in it."""
        return read_class_names(self._file(self.class_names), "data.dataset.class_names")

    def _labels_of(self, videos: Sequence[LabelledVideo]) -> list[int | None]:
        """The position of each video's class; None for a class that `only_classes` leaves out."""
        names = self._all_classes() if self.only_classes else self.classes()
        positions = {name: index for index, name in enumerate(names)}
        found = [label_position(video.label, positions, video.origin) for video in videos]
        if not self.only_classes:
            return list(found)
        kept = {positions[name]: index for index, name in enumerate(self.classes())}
        return [kept.get(position) for position in found]

    def _path(self, video: LabelledVideo) -> str:
        """Path of the video, relative to the root."""
        return video.name

    def _listed(self, split: Split) -> list[LabelledVideo]:
        path = self._list(split)
        videos = list(_read_list(path, file_version(path))) if self.format == "list" else self._read_official(path)
        if not videos:
            raise InputError(str(path), "the list is empty", fix="it needs one line or entry per video")
        return videos

    def _list(self, split: Split) -> Path:
        return self._file(self.train_list if split == "train" else self.test_list)

    def _file(self, name: str) -> Path:
        return Path(expand(self.annotations, "data.dataset.annotations")) / name

    def _root(self, split: Split = "train") -> str:
        folder, field = self.root or self.annotations, "root" if self.root else "annotations"
        if split == "test" and self.test_root:
            folder, field = self.test_root, "test_root"
        return root_address(folder, f"data.dataset.{field}")


def _identity(name: str, video: LabelledVideo) -> str:
    """What no two lines of a list share: a video, or a span of it with its label."""
    if video.start_seconds is None and video.end_seconds is None:
        return name
    return f"{name} from {video.start_seconds or 0:g} s to {video.end_seconds or 0:g} s as {video.label}"


@lru_cache(maxsize=4)
def _read_list(path: Path, version: tuple[int, ...]) -> tuple[LabelledVideo, ...]:  # noqa: ARG001 - for the cache
    """The lines `path label` or `path frames label`; the first one says which."""
    lines = [(f"{path}:{number}", line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    first = lines[0][1].rsplit(maxsplit=2) if lines else []
    form = "path frames label" if len(first) == 3 and first[1].isdecimal() else "path label"
    columns = len(form.split())
    videos = []
    for origin, line in lines:
        # The path is the first column and may hold spaces, so lines are divided from the right.
        cells = line.rsplit(maxsplit=columns - 1)
        if len(cells) != columns:
            raise InputError(origin, f"found {line.strip()!r:.80}", allowed=f"{form}, divided by spaces")
        if columns == 3 and not cells[1].isdecimal():
            raise InputError(origin, f"the number of frames is {cells[1]!r}", allowed=f"{form}, as in the first line")
        videos.append(LabelledVideo(cells[0].strip(), cells[-1], origin))
    return tuple(videos)
