"""A plain list of clips: a text or CSV file of paths and labels.

    dataset:
      kind: list
      annotations: ${CLIPS}/labels.csv
      columns: {group: source_video}
      split_by: {kind: group, test_fraction: 0.3}

See `annotations.py` for the forms a list may take.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import Spec
from side4video.data.annotations import Delimiter, Row, as_flag, as_seconds, read_rows
from side4video.data.class_names import read_class_names
from side4video.data.clip import Clip, Split
from side4video.data.fingerprint import fingerprint_clips
from side4video.data.mirror import mirror_by_name
from side4video.data.splits import split_by_group

LARGEST_LABEL = 99_999
"""A larger whole-number label is a mistaken column (a frame count, an id), not a class."""

_WHOLE_NUMBER = re.compile(r"-?\d+")


class ColumnsSpec(Spec):
    """The header's name for each column, where it differs."""

    path: str = "path"
    """The video file, relative to `root`."""
    label: str = "label"
    """A class name, or its position in the classes."""
    start: str = "start"
    """Seconds; where the span begins."""
    end: str = "end"
    """Seconds; where the span ends."""
    reversed: str = "reversed"
    """Yes or no: play the frames backwards."""
    group: str = "group"
    """What the clip was cut from."""
    split: str = "split"
    """`train` or `test`."""

    @model_validator(mode="after")
    def names_differ(self) -> "ColumnsSpec":
        """One column cannot mean two things."""
        names = list(self.model_dump().values())
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the column {repeated[0]!r} is given two meanings")
        return self


class LabelNamesSpec(Spec):
    """The classes are the labels of the whole list: sorted names, or 0 to the largest whole number."""

    kind: Literal["from-labels"] = "from-labels"


class GivenNamesSpec(Spec):
    """The classes are written here."""

    kind: Literal["given"] = "given"
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """In the order of their positions."""

    @model_validator(mode="after")
    def names_differ(self) -> "GivenNamesSpec":
        """No class stands twice."""
        if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(f"the class {repeated[0]!r} stands twice")
        return self


class NamesFileSpec(Spec):
    """The classes are in a file: one name per line, or CSV with a header `id,name`."""

    kind: Literal["file"] = "file"
    path: str
    """The file; may hold `${NAME}`."""


class NumberedNamesSpec(Spec):
    """The classes are numbers: 0 to `count` - 1. The width of a head is then known without any file."""

    kind: Literal["numbered"] = "numbered"
    count: Annotated[int, Field(gt=1, le=100_000)]
    """How many."""


ClassNames = Annotated[LabelNamesSpec | GivenNamesSpec | NamesFileSpec | NumberedNamesSpec, Field(discriminator="kind")]


class ColumnSplitSpec(Spec):
    """A column says `train` or `test`."""

    kind: Literal["column"] = "column"


class FileSplitSpec(Spec):
    """The test clips are in a list of their own."""

    kind: Literal["file"] = "file"
    test_annotations: str
    """The list of test clips, of the same form as `annotations`; may hold `${NAME}`."""


class GroupSplitSpec(Spec):
    """Whole groups go to training or to test, drawn from a seed."""

    kind: Literal["group"] = "group"
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of each class wanted for test; groups are not torn, so it is met as nearly as they allow."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Draws the groups."""
    ungrouped: Literal["train", "own"] = "train"
    """Clips with an empty group: all in training (nothing is known of where they come from, so they are no fair
    test), or each a group of its own."""


SplitBy = Annotated[ColumnSplitSpec | FileSplitSpec | GroupSplitSpec, Field(discriminator="kind")]


class GivenLabelsSpec(Spec):
    """The labels of the list."""

    kind: Literal["given"] = "given"


class DirectionLabelsSpec(Spec):
    """Is the clip played backwards? Each clip becomes two samples, `forward` and `backward`."""

    kind: Literal["direction"] = "direction"


TaskLabels = Annotated[GivenLabelsSpec | DirectionLabelsSpec, Field(discriminator="kind")]


class MirrorByNameSpec(Spec):
    """Classes whose names differ by left and right (or clockwise and anticlockwise) are each other's mirror image.

    Flipping is refused if a name has such a word and no partner.
    """

    kind: Literal["by-name"] = "by-name"


class MirrorPairsSpec(Spec):
    """These classes are each other's mirror image; all others are their own. No pair: flips change no label."""

    kind: Literal["pairs"] = "pairs"
    pairs: tuple[tuple[str, str], ...] = ()
    """Class names, two by two."""

    @model_validator(mode="after")
    def each_class_has_one_mirror_image(self) -> "MirrorPairsSpec":
        """No class stands in two pairs, or twice in one."""
        names = [name for pair in self.pairs for name in pair]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the class {repeated[0]!r} is given two mirror images")
        return self


class MirrorRefusedSpec(Spec):
    """A mirrored clip has no label: never flip."""

    kind: Literal["refused"] = "refused"


Mirror = Annotated[MirrorByNameSpec | MirrorPairsSpec | MirrorRefusedSpec, Field(discriminator="kind")]


class ListSpec(Spec):
    """Clips listed in a text or CSV file."""

    kind: Literal["list"] = "list"
    annotations: Annotated[str, Field(min_length=1)]
    """The list; may hold `${NAME}`. A relative path starts at the folder the command runs in."""
    root: str = ""
    """The folder that paths in the list are relative to; empty is the list's own folder. May hold `${NAME}`."""
    delimiter: Delimiter = "auto"
    """What divides columns; `auto` looks at the first line: a tab, else a comma, else spaces."""
    columns: ColumnsSpec = ColumnsSpec()
    """The header's names."""
    class_names: ClassNames = LabelNamesSpec()
    """What the classes are."""
    split_by: SplitBy = ColumnSplitSpec()
    """Which clips are for training and which for test."""
    task_labels: TaskLabels = GivenLabelsSpec()
    """What is to be recognised."""
    mirror: Mirror = MirrorByNameSpec()
    """What a horizontal flip does to labels."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        return ("forward", "backward") if self.task_labels.kind == "direction" else self._given_classes()

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of the list.

        Raises:
            InputError: The list is wrong (file and line are named), or the split is empty.
        """
        clips = self._split()[split]
        if not clips:
            raise InputError(
                str(self._annotations()),
                f"no clip is for {split} (split_by: {self.split_by.kind})",
                fix="check the split column, or choose another split_by: file, group",
            )
        if self.task_labels.kind == "given":
            return clips
        return [replace(clip, label=label, reversed=clip.reversed != bool(label)) for clip in clips for label in (0, 1)]

    def fingerprint(self) -> str:
        """SHA-256 over classes and clips; see `fingerprint_clips`."""
        splits: tuple[Split, ...] = ("train", "test")
        return fingerprint_clips(self.classes(), {split: self.clips(split) for split in splits}, self._root())

    def mirrored_classes(self) -> Mapping[int, int] | None:
        """The label permutation of a horizontal flip; None where labels know left from right and no map is known."""
        classes = self.classes()
        if self.task_labels.kind == "direction":
            return {0: 0, 1: 1}
        if isinstance(self.mirror, MirrorRefusedSpec):
            return None
        if isinstance(self.mirror, MirrorByNameSpec):
            permutation, unpaired = mirror_by_name(classes)
            return None if unpaired else permutation
        permutation = {index: index for index in range(len(classes))}
        for pair in self.mirror.pairs:
            for name, other in (pair, pair[::-1]):
                if name not in classes:
                    raise InputError("data.dataset.mirror.pairs", f"{name!r} is no class", allowed=_some(classes))
                permutation[classes.index(name)] = classes.index(other) if other in classes else -1
        return permutation

    def check(self) -> None:
        """Read the list and check it whole; no video is looked at.

        Raises:
            InputError: A file is missing or wrong; file and line are named.
        """
        self.clips("train")
        self.clips("test")

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:  # noqa: ARG002 - same for all sets
        """The same as `check`: there is nothing to make."""
        self.check()

    def _annotations(self) -> Path:
        return _expand(self.annotations, "annotations")

    def _root(self) -> Path:
        folder = _expand(self.root, "root") if self.root else self._annotations().parent
        return Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links out of the folder

    def _rows(self) -> tuple[list[Row], list[Row]]:
        """The rows of the list, and of the separate test list if there is one."""
        columns = self.columns.model_dump()
        rows = read_rows(self._annotations(), delimiter=self.delimiter, columns=columns)
        if not isinstance(self.split_by, FileSplitSpec):
            return rows, []
        path = _expand(self.split_by.test_annotations, "split_by.test_annotations")
        return rows, read_rows(path, delimiter=self.delimiter, columns=columns)

    def _given_classes(self) -> tuple[str, ...]:
        if isinstance(self.class_names, GivenNamesSpec):
            return self.class_names.names
        if isinstance(self.class_names, NumberedNamesSpec):
            return tuple(str(index) for index in range(self.class_names.count))
        if isinstance(self.class_names, NamesFileSpec):
            return read_class_names(_expand(self.class_names.path, "class_names.path"))
        labels = {row.values["label"]: row for rows in reversed(self._rows()) for row in reversed(rows)}
        if not all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
            return tuple(sorted(labels))
        for label, row in labels.items():
            if not 0 <= int(label) <= LARGEST_LABEL:
                raise InputError(
                    row.origin,
                    f"label {label} is out of range",
                    allowed=f"0 to {LARGEST_LABEL}",
                    fix="is it another column?",
                )
        return tuple(str(index) for index in range(max(map(int, labels)) + 1))

    def _split(self) -> dict[Split, list[Clip]]:
        rows, test_rows = self._rows()
        positions = {name: index for index, name in enumerate(self._given_classes())}
        root = self._root()
        clips = [_as_clip(row, root, positions) for row in rows]
        if isinstance(self.split_by, FileSplitSpec):
            return {"train": clips, "test": [_as_clip(row, root, positions) for row in test_rows]}
        if isinstance(self.split_by, GroupSplitSpec):
            is_test = self._test_by_group(self.split_by, rows, clips)
        else:
            is_test = [_is_test(row, self.columns.split) for row in rows]
        return {
            "train": [clip for clip, test in zip(clips, is_test, strict=True) if not test],
            "test": [clip for clip, test in zip(clips, is_test, strict=True) if test],
        }

    def _test_by_group(self, spec: GroupSplitSpec, rows: Sequence[Row], clips: Sequence[Clip]) -> list[bool]:
        if "group" not in rows[0].values:
            raise InputError(
                rows[0].origin,
                f"split_by is group, and the list has no column {self.columns.group!r}",
                fix="name the column under `columns: {group: ...}`, or choose another split_by",
            )
        grouped = [index for index, clip in enumerate(clips) if clip.group or spec.ungrouped == "own"]
        # A clip without a group stands for itself; a space keeps its name apart from any group's (those are stripped).
        groups = [clips[index].group or f" {index}" for index in grouped]
        chosen = split_by_group(
            [clips[index] for index in grouped], groups, test_fraction=spec.test_fraction, seed=spec.seed
        )
        is_test = [False] * len(clips)
        for index, test in zip(grouped, chosen, strict=True):
            is_test[index] = test
        return is_test


def _expand(path: str, field: str) -> Path:
    return Path(expand(path, f"data.dataset.{field}"))


def _as_clip(row: Row, root: Path, positions: Mapping[str, int]) -> Clip:
    start, end = as_seconds(row, "start"), as_seconds(row, "end")
    if end is not None and (start or 0.0) >= end:
        raise InputError(
            row.origin,
            f"start {start or 0.0:g} is not before end {end:g}",
            fix="both are seconds from the file's begin",
        )
    return Clip(
        path=_inside(row, root),
        label=_label(row, positions),
        start_seconds=start,
        end_seconds=end,
        reversed=as_flag(row, "reversed"),
        group=row.values.get("group", ""),
        origin=row.origin,
    )


def _inside(row: Row, root: Path) -> str:
    """The row's path under the root; joined as text, because there may be hundreds of thousands."""
    joined = os.path.normpath(os.path.join(root, row.values["path"]))  # noqa: PTH118
    prefix = os.path.join(root, "")  # noqa: PTH118
    if not joined.startswith(prefix):
        raise InputError(
            row.origin,
            f"the path {row.values['path']!r} leaves the root folder {root}",
            fix="write paths relative to `root`, or set `root` to a folder that holds them all",
        )
    return joined


def _label(row: Row, positions: Mapping[str, int]) -> int:
    label = row.values["label"]
    if label in positions:
        return positions[label]
    if _WHOLE_NUMBER.fullmatch(label):
        if 0 <= int(label) < len(positions):
            return int(label)
        raise InputError(row.origin, f"label {label} is out of range", allowed=f"0 to {len(positions) - 1}")
    raise InputError(row.origin, f"label {label!r} is no class", allowed=_some(list(positions)))


def _is_test(row: Row, column: str) -> bool:
    split = row.values.get("split")
    if split is None:
        raise InputError(
            row.origin,
            f"the list has no column {column!r}",
            fix="add one with train or test in each row, or choose another split_by: file, group",
        )
    if split not in ("train", "test"):
        raise InputError(row.origin, f"split is {split!r}", allowed="train, test")
    return split == "test"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
