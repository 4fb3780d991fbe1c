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
from side4video.core.spec import ADDED_LATER, PathText, Spec
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.annotations.missing_files import warn_once
from side4video.data.annotations.splits import GroupSplitSpec, RandomSplitSpec, assign_splits, has_validation
from side4video.data.annotations.tables import Row, shorten_list
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.frame_names import FramePattern
from side4video.data.listing_once import listed_once
from side4video.data.storage import is_folder, join_address, list_folder, root_address


class FoldersSplitSpec(Spec):
    """The clips of each split are in a folder of their own, with one folder per class."""

    kind: Literal["folders"] = "folders"
    train: str = "train"
    """Name of the folder of the training clips, in `root`."""
    val: Annotated[str, ADDED_LATER] = "val"
    """Name of the folder of the validation clips. If it is not there, or is the test folder, there is no validation
    split."""
    test: str = "test"
    """Name of the folder of the test clips, in `root`. All its classes are also in the training folder."""


FolderSplitBy = Annotated[FoldersSplitSpec | GroupSplitSpec | RandomSplitSpec, Field(discriminator="kind")]


class FolderSpec(DatasetSpec):
    """Videos in one folder per class. The classes are the names of the folders, sorted."""

    kind: Literal["folder"] = "folder"
    root: Annotated[PathText, Field(min_length=1)]
    """Folder with all clips, or an address such as `s3://bucket/ucf101`; may contain `${NAME}`."""
    split_by: FolderSplitBy = FoldersSplitSpec()
    """How clips are divided into training, validation and test."""
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

    @listed_once
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        root = self._root()
        folder = self._split_folder("train") if isinstance(self.split_by, FoldersSplitSpec) else root
        return tuple(_subfolders(folder))

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if there are clips for it, and test."""
        if isinstance(self.split_by, FoldersSplitSpec):
            names = self.split_by
            is_own = bool(names.val) and names.val not in (names.train, names.test)
            return SPLITS if is_own and is_folder(join_address(self._root(), names.val)) else TRAIN_AND_TEST
        return SPLITS if has_validation(self.split_by) and self._assigned()["val"] else TRAIN_AND_TEST

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split, class by class, in the order of their names.

        Raises:
            InputError: A folder is missing or empty, or the test folder has a class that training has not.
        """
        if isinstance(self.split_by, FoldersSplitSpec):
            return self._in_classes(self._split_folder(split))
        if not (chosen := list(self._assigned()[split])):
            fix = "add clips" if self.split_by.kind == "random" else "check group_pattern and ungrouped"
            raise InputError(self._root(), f"no clip is for {split} (split_by: {self.split_by.kind})", fix=fix)
        return chosen

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def _split_folder(self, split: Split) -> str:
        """The folder of a split's clips; if it is not there, an error that says what else the root may be."""
        root, name = self._root(), getattr(self.split_by, split)
        folder = join_address(root, name)
        if not is_folder(folder):
            names = [entry.name for entry in list_folder(root) if entry.is_folder]
            held = shorten_list(names) if names else "no folders"
            raise InputError(
                folder,
                f"the folder cannot be read: there is no such folder; {root} has {held}",
                fix=f"if these are the classes, split_by: {{kind: random}}; or name the folder of the {split} clips: "
                f"split_by: {{kind: folders, {split}: ...}}",
            )
        return folder

    @listed_once
    def _assigned(self) -> dict[Split, list[Clip]]:
        """The clips of each split, where splits are drawn."""
        assert not isinstance(self.split_by, FoldersSplitSpec)  # noqa: S101
        clips = self._in_classes(self._root())
        rows = [Row(clip.origin, {"group": clip.group}) for clip in clips]
        splits = assign_splits(self.split_by, rows, clips, {"group": "group"})
        found: dict[Split, list[Clip]] = {split: [] for split in SPLITS}
        for clip, split in zip(clips, splits, strict=True):
            found[split].append(clip)
        return found

    def _root(self) -> str:
        return root_address(self.root, "data.dataset.root")

    @listed_once
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
        class_name, suffixes = folder.rpartition("/")[2], tuple(extension.lower() for extension in self.extensions)
        for entry in list_folder(folder):
            name = f"{class_name}/{entry.name}"
            if entry.is_folder if self.frame_pattern else entry.name.lower().endswith(suffixes):
                address, group = join_address(folder, entry.name), self._group(name)
                clips.append(Clip(address, label, group=group, frame_pattern=self.frame_pattern, origin=folder))
            else:
                others.append(name)
        return clips, others

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
