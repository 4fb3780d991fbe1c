"""A video data set of Hugging Face's `datasets`, saved to disk.

    dataset: {kind: hugging-face, root: "${CLIPS}/ucf101", test: validation}

`dataset.save_to_disk(folder)` wrote it; the `datasets` package itself is not needed. Videos are read from the Arrow
files, one by one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import ADDED_LATER, PathText, Spec
from side4video.data.annotations.arrow import ArrowRow, features_of, read_rows, split_folders
from side4video.data.annotations.class_names import infer_classes, label_position
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.annotations.splits import (
    GroupSplitSpec,
    RandomSplitSpec,
    has_validation,
    split_at_random,
    split_by_group,
)
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.storage import is_remote, resolve_inside, root_address


class NamedSplitsSpec(Spec):
    """Training, validation and test clips are splits of the data set."""

    kind: Literal["splits"] = "splits"
    train: str = "train"
    """Name of the split of the training clips."""
    val: Annotated[str, ADDED_LATER] = ""
    """Name of the split of the validation clips. Empty: there is no validation split."""
    test: str = "test"
    """Name of the split of the test clips."""


HuggingFaceSplitBy = Annotated[NamedSplitsSpec | GroupSplitSpec | RandomSplitSpec, Field(discriminator="kind")]


class HuggingFaceSpec(DatasetSpec):
    """Videos with labels or captions in Arrow files."""

    kind: Literal["hugging-face"] = "hugging-face"
    root: Annotated[PathText, Field(min_length=1)]
    """Folder that `save_to_disk` wrote, on this machine; may contain `${NAME}`."""
    videos_root: PathText = ""
    """Folder of the videos, if the rows contain paths instead of bytes; may contain `${NAME}`. Paths must not leave
    this folder."""
    video: str = "video"
    """Column with the videos."""
    label: str = "label"
    """Column with the classes; empty if there is none."""
    captions: str = ""
    """Column with the captions, one or several per row; empty if there is none."""
    group: str = ""
    """Column with the source of each clip, for `split_by: {kind: group}`."""
    split_by: HuggingFaceSplitBy = NamedSplitsSpec()
    """How clips are divided into training, validation and test."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices, from the data set; empty if `label` is empty."""
        if not self.label:
            return ()
        folder = self._folder("train")
        names = features_of(folder).get(self.label, {}).get("names")
        if names:
            return tuple(map(str, names))
        return infer_classes((str(row.values[self.label]), row.origin) for row in self._rows(folder))

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if the document asks for it, and test."""
        is_named = isinstance(self.split_by, NamedSplitsSpec) and self.split_by.val
        return SPLITS if is_named or has_validation(self.split_by) else TRAIN_AND_TEST

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of its rows.

        Raises:
            InputError: A file is missing or broken, a row lacks its video, or none is for the split.
        """
        positions = {name: index for index, name in enumerate(self.classes())}
        clips = [self._as_clip(row, positions, number) for number, row in enumerate(self._rows(self._folder(split)))]
        if isinstance(self.split_by, GroupSplitSpec):
            groups = [clip.group or f" {number}" for number, clip in enumerate(clips)]
            own = split_by_group(clips, groups, self.split_by)
            clips = [clip for clip, each in zip(clips, own, strict=True) if each == split]
        elif isinstance(self.split_by, RandomSplitSpec):
            own = split_at_random(clips, self.split_by)
            clips = [clip for clip, each in zip(clips, own, strict=True) if each == split]
        if not clips:
            raise InputError(self._root(), f"no row is for {split}", fix="check `split_by`")
        return clips

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def _root(self) -> str:
        address = expand(self.root, "data.dataset.root")
        if is_remote(address):
            raise InputError("data.dataset.root", address, allowed="a folder of this machine", fix="copy it here")
        return root_address(self.root, "data.dataset.root")

    def _folder(self, split: Split) -> Path:
        folders = split_folders(Path(self._root()))
        if not isinstance(self.split_by, NamedSplitsSpec):
            if len(folders) != 1:
                raise InputError(
                    "data.dataset.split_by",
                    f"group, and the data set has splits: {', '.join(folders)}",
                    allowed="splits",
                )
            return next(iter(folders.values()))
        name = getattr(self.split_by, split)
        if name not in folders:
            named = ", ".join(filter(None, folders))
            raise InputError(
                f"data.dataset.split_by.{split}",
                f"no split {name!r} in {self._root()}",
                allowed=named or "the data set has no splits",
                fix="name one of them" if named else "split_by: {kind: group}",
            )
        return folders[name]

    def _rows(self, folder: Path) -> tuple[ArrowRow, ...]:
        columns = tuple(filter(None, (self.label, self.captions, self.group)))
        return read_rows(folder, video=self.video, columns=columns)

    def _as_clip(self, row: ArrowRow, positions: Mapping[str, int], number: int) -> Clip:
        path = row.address
        if not path:
            if not row.path:
                raise InputError(row.origin, "the row has neither the bytes nor the path of a video")
            if not self.videos_root:
                raise InputError(
                    row.origin,
                    f"it holds a path ({row.path}), and no bytes",
                    fix="say under `videos_root` which folder the videos are in",
                )
            path = resolve_inside(root_address(self.videos_root, "data.dataset.videos_root"), row.path, row.origin)
        label = label_position(str(row.values[self.label]), positions, row.origin) if self.label else None
        said = row.values.get(self.captions) if self.captions else ()
        captions = (said,) if isinstance(said, str) else tuple(said or ())
        if not self.label and not captions:
            raise InputError(row.origin, "neither a label nor a caption", fix="name a column: `label` or `captions`")
        name = Path(row.path).name if row.path else f"{number:08d}"
        group = str(row.values.get(self.group) or "") if self.group else ""
        return Clip(path, label, tuple(map(_as_text, captions)), group=group, name=name, origin=row.origin)


def _as_text(caption: Any) -> str:
    return " ".join(str(caption).split())
