"""A folder for each class.

    dataset: {kind: folder, root: "${CLIPS}"}                  train/abseiling/a.mp4, test/abseiling/b.mp4

    dataset:                                                   abseiling/v_Abseiling_g01_c01.avi
      kind: folder
      root: ${UCF101}
      split_by: {kind: group, test_fraction: 0.3}
      group_pattern: _(g[0-9]+)_

With `frame_pattern`, what a class's folder holds are not videos, but folders of frames.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from side4video.core.errors import InputError
from side4video.core.spec import PathText, Spec
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.annotations.missing_files import warn_once
from side4video.data.annotations.splits import GroupSplitSpec, mark_test_clips
from side4video.data.annotations.tables import Row, shorten_list
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.frame_folder import FramePattern
from side4video.data.storage import join_address, list_folder, root_address


class FoldersSplitSpec(Spec):
    """Training and test clips are in two folders, each with one folder per class."""

    kind: Literal["folders"] = "folders"
    train: str = "train"
    """Name of the folder of the training clips, in `root`."""
    test: str = "test"
    """Name of the folder of the test clips, in `root`. All its classes are also in the training folder."""


FolderSplitBy = Annotated[FoldersSplitSpec | GroupSplitSpec, Field(discriminator="kind")]


class FolderSpec(DatasetSpec):
    """Videos in one folder per class. The classes are the names of the folders, sorted."""

    kind: Literal["folder"] = "folder"
    root: Annotated[PathText, Field(min_length=1)]
    """Folder with all clips, or an address such as `s3://bucket/ucf101`; may contain `${NAME}`."""
    split_by: FolderSplitBy = FoldersSplitSpec()
    """How clips are divided into training and test."""
    group_pattern: str = ""
    """For `split_by: {kind: group}`: a regular expression for the group in the file name of a clip. If it has
    parentheses, the first pair is the group; otherwise the whole match. Empty: each clip is a group of its own."""
    extensions: Annotated[tuple[Extension, ...], Field(min_length=1)] = (
        *(".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv"),
    )
    """Extensions of video files, in lower or upper case. Other files are ignored, with a warning that counts them."""
    frame_pattern: FramePattern = ""
    """File name pattern of the images, if each video is a folder of frames, for example `img_{:05d}.jpg`. Numbers start
    at 1."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""

    @field_validator("group_pattern")
    @classmethod
    def group_pattern_is_an_expression(cls, pattern: str) -> str:
        """The pattern is a regular expression."""
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return pattern

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        root = self._root()
        folder = join_address(root, self.split_by.train) if isinstance(self.split_by, FoldersSplitSpec) else root
        return tuple(_subfolders(folder))

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split, class by class, in the order of their names.

        Raises:
            InputError: A folder is missing or empty, or the test folder has a class that training has not.
        """
        if isinstance(self.split_by, FoldersSplitSpec):
            return self._in_classes(join_address(self._root(), getattr(self.split_by, split)))
        clips = self._in_classes(self._root())
        rows = [Row(clip.origin, {"group": clip.group}) for clip in clips]
        is_test = mark_test_clips(self.split_by, rows, clips, {"group": "group"})
        chosen = [clip for clip, test in zip(clips, is_test, strict=True) if test == (split == "test")]
        if not chosen:
            raise InputError(
                self._root(), f"no clip is for {split} (split_by: group)", fix="check group_pattern and ungrouped"
            )
        return chosen

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def _root(self) -> str:
        return root_address(self.root, "data.dataset.root")

    def _in_classes(self, folder: str) -> list[Clip]:
        """The clips of all classes in a folder."""
        positions = {name: index for index, name in enumerate(self.classes())}
        clips: list[Clip] = []
        left_out: list[str] = []
        for name in _subfolders(folder):
            if name not in positions:
                raise InputError(
                    join_address(folder, name),
                    f"no folder for training is called {name!r}",
                    allowed=shorten_list(list(positions)),
                )
            found, others = self._in_class(join_address(folder, name), positions[name])
            if not found:
                wanted = "folder of frames" if self.frame_pattern else f"video ({shorten_list(self.extensions)})"
                raise InputError(
                    join_address(folder, name), f"no {wanted} in it", fix="remove the folder, or see `extensions`"
                )
            clips += found
            left_out += others
        if left_out:
            warn_once(
                f"{folder}: files that are no clips are left out, {len(left_out)} of them: {shorten_list(left_out)}"
            )
        return clips

    def _in_class(self, folder: str, label: int) -> tuple[list[Clip], list[str]]:
        """The clips of a class, and the names of other files in its folder."""
        clips, others = [], []
        class_name = folder.rpartition("/")[2]
        for entry in list_folder(folder):
            name = f"{class_name}/{entry.name}"
            if entry.is_folder if self.frame_pattern else entry.name.lower().endswith(self._suffixes()):
                address, group = join_address(folder, entry.name), self._group(name)
                clips.append(Clip(address, label, group=group, frame_pattern=self.frame_pattern, origin=folder))
            else:
                others.append(name)
        return clips, others

    def _suffixes(self) -> tuple[str, ...]:
        return tuple(extension.lower() for extension in self.extensions)

    def _group(self, path: str) -> str:
        """The group of a clip: depends on class and file name only, so moving the root folder keeps the split."""
        if not self.group_pattern:
            return path
        match = re.search(self.group_pattern, path.partition("/")[2])
        if match is None:
            return ""
        return (match[1] if match.re.groups else match[0]) or ""


def _subfolders(folder: str) -> list[str]:
    names = [entry.name for entry in list_folder(folder) if entry.is_folder]
    if not names:
        raise InputError(folder, "it has no folders", fix="it needs one for each class; see `split_by`")
    return names
