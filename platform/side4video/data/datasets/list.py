"""A list of clips: a text, CSV or JSON Lines file with paths and labels.

    dataset:
      kind: list
      annotations: ${CLIPS}/labels.csv
      columns: {group: source_video}
      split_by: {kind: group, test_fraction: 0.3}

See `annotations/tables.py` for the forms of a table. A file that ends in `.jsonl` holds one object per line, whose
fields are the columns: `{"path": "a.mp4", "label": "waving", "start": 0.5, "split": "train"}`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import ADDED_LATER, PathText, Spec
from side4video.data.annotations.class_names import infer_classes, label_position, read_class_names
from side4video.data.annotations.flip_labels import (
    FlipByNameSpec,
    FlipLabels,
    FlipPairsSpec,
    flipped_labels,
)
from side4video.data.annotations.json_files import read_json_rows
from side4video.data.annotations.label_columns import (
    ALL_HEADS,
    LABELS,
    check_named_once,
    head_column,
    label_positions,
    single_label,
    split_labels,
    table_form,
)
from side4video.data.annotations.splits import (
    ColumnSplitSpec,
    FileSplitSpec,
    SplitBy,
    assign_splits,
    has_validation,
)
from side4video.data.annotations.tables import ColumnNamesSpec, Delimiter, Row, as_flag, as_span, read_rows
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.frame_names import FramePattern
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside, root_address


class ColumnsSpec(ColumnNamesSpec):
    """Names of the columns in the file, where they differ from these."""

    path: str = "path"
    """Path of the video file, relative to `root`."""
    label: str = "label"
    """A class name, or its index in the classes."""
    start: str = "start"
    """Start of the span, in seconds."""
    end: str = "end"
    """End of the span, in seconds."""
    reversed: str = "reversed"
    """Whether to play the frames in reverse order: yes or no."""
    group: str = "group"
    """Source of the clip, for example the id of the full video."""
    split: str = "split"
    """`train`, `val` or `test`."""
    labels: Annotated[str, ADDED_LATER] = ""
    """All classes of a clip, with `;` between them, or a JSON list; an empty cell is none. Empty here: there is no such
    column. With it, `label` may be left out."""


class LabelNamesSpec(Spec):
    """The classes are all labels of the list: sorted names, or 0 to the largest number."""

    kind: Literal["from-labels"] = "from-labels"


class GivenNamesSpec(Spec):
    """The classes are listed here."""

    kind: Literal["given"] = "given"
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Class names, in the order of their indices."""

    @model_validator(mode="after")
    def names_differ(self) -> "GivenNamesSpec":
        """Class names are unique."""
        if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(f"the class {repeated[0]!r} appears twice")
        return self


class NamesFileSpec(Spec):
    """The classes are in a file: one name per line, CSV with a header `id,name`, or JSON `{name: index}`."""

    kind: Literal["file"] = "file"
    path: PathText
    """Path of the file; may contain `${NAME}`."""


class NumberedNamesSpec(Spec):
    """The classes are the numbers 0 to `count` - 1, so their number is known without any file."""

    kind: Literal["numbered"] = "numbered"
    count: Annotated[int, Field(gt=1, le=100_000)]
    """Number of classes."""


HeadName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A head's name is a part of names of metrics."""

ClassNames = Annotated[LabelNamesSpec | GivenNamesSpec | NamesFileSpec | NumberedNamesSpec, Field(discriminator="kind")]


class GivenLabelsSpec(Spec):
    """Recognise the labels of the list."""

    kind: Literal["given"] = "given"


class DirectionLabelsSpec(Spec):
    """Recognise whether a clip is played forward or backward. Each clip becomes two samples."""

    kind: Literal["direction"] = "direction"


TaskLabels = Annotated[GivenLabelsSpec | DirectionLabelsSpec, Field(discriminator="kind")]


class ListSpec(DatasetSpec):
    """Clips listed in a text, CSV or JSON Lines file."""

    kind: Literal["list"] = "list"
    annotations: Annotated[PathText, Field(min_length=1)]
    """Path of the list; may contain `${NAME}`. A relative path starts at the folder that the command runs in."""
    root: PathText = ""
    """Folder that the paths in the list are relative to, or an address such as `s3://bucket/clips`; may contain
    `${NAME}`. Empty: the folder of the list."""
    delimiter: Delimiter = "auto"
    """Delimiter of the columns. `auto` uses the first line: a tab, else a comma, else spaces."""
    columns: ColumnsSpec = ColumnsSpec()
    """Names of the columns in the file."""
    class_names: ClassNames = LabelNamesSpec()
    """Where the classes come from."""
    split_by: SplitBy = ColumnSplitSpec()
    """How clips are divided into training, validation and test."""
    frame_pattern: FramePattern = ""
    """File name pattern of the images, if each path is a folder of frames, for example `img_{:05d}.jpg`. Numbers start
    at 1. Such clips have no time stamps, so a clip is always the whole folder."""
    task_labels: TaskLabels = GivenLabelsSpec()
    """What to recognise: the labels, or the direction of time."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""
    label_columns: Annotated[dict[HeadName, Annotated[str, Field(min_length=1)]], ADDED_LATER] = {}  # noqa: RUF012
    """Columns with a class for each head of the task `multi-head`, by the head's name: `{verb: verb_class}`."""
    head_class_names: Annotated[dict[HeadName, ClassNames], ADDED_LATER] = {}  # noqa: RUF012
    """Where the classes of a head come from, by its name. Heads that are not named: from the labels of their column."""

    @model_validator(mode="after")
    def columns_have_one_meaning(self) -> Self:
        """Each column is used once, and only heads with a column have classes."""
        if self.task_labels.kind == "direction" and (self.columns.labels or self.label_columns):
            raise ValueError(
                "task_labels direction has one label · allowed: task_labels given, with these columns · fix: remove "
                "columns.labels and label_columns"
            )
        names = [*self._column_names().values()]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"the column {repeated[0]!r} is given two meanings · allowed: each column once · fix: name another "
                "column for one of them"
            )
        if unknown := sorted(set(self.head_class_names) - set(self.label_columns)):
            raise ValueError(
                f"head_class_names has {unknown[0]!r}, and label_columns has not · allowed: "
                f"{', '.join(sorted(self.label_columns)) or 'heads of label_columns'} · fix: give its column in "
                "label_columns"
            )
        if ALL_HEADS in self.label_columns:
            raise ValueError(
                f"label_columns has a head {ALL_HEADS}, and metrics of all heads together are called so · allowed: "
                f"other names · fix: rename it, such as {{motion: {self.label_columns[ALL_HEADS]}}}"
            )
        return self

    def paths(self, prefix: str = "") -> dict[str, str]:
        """As other documents, with the files of heads' classes."""
        found = super().paths(prefix)
        for name, names in self.head_class_names.items():
            found |= names.paths(f"{prefix}head_class_names.{name}.")
        return found

    def respelled(self, dump: Mapping[str, Any], spell: Callable[[str], str]) -> dict[str, Any]:
        """As other documents, with the files of heads' classes."""
        changed = super().respelled(dump, spell)
        heads = changed.get("head_class_names", {})
        own = {name: self.head_class_names[name].respelled(each, spell) for name, each in heads.items()}
        return {**changed, "head_class_names": own} if own else changed

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        return ("forward", "backward") if self.task_labels.kind == "direction" else self._given_classes()

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if clips are for it, and test."""
        is_possible = has_validation(self.split_by) or self.split_by.kind == "column"
        return SPLITS if is_possible and self._split()["val"] else TRAIN_AND_TEST

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of the list.

        Raises:
            InputError: The list is wrong (file and line are named), or the split is empty.
        """
        clips = list(self._split()[split])
        if not clips:
            raise InputError(
                str(self._annotations()),
                f"no clip is for {split} (split_by: {self.split_by.kind})",
                fix="check the split column, or choose another split_by: random, group, file",
            )
        if self.task_labels.kind == "given":
            return clips
        return [replace(clip, label=label, reversed=clip.reversed != bool(label)) for clip in clips for label in (0, 1)]

    def head_names(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(sorted(self.label_columns))

    @listed_once
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Class names of each head, in the order of the heads' names: documents do not keep that of `label_columns`."""
        found: dict[str, tuple[str, ...]] = {}
        for name in sorted(self.label_columns):
            given = given_names(self.head_class_names.get(name, LabelNamesSpec()), f"head_class_names.{name}.path")
            listed = ((row.values[head_column(name)], row.origin) for row in self._all_rows())
            found[name] = infer_classes(listed) if given is None else given
        return found

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        classes = self.classes()
        if self.task_labels.kind == "direction":
            return {0: 0, 1: 1}
        return flipped_labels(self._mirror_of(classes), classes)

    def flipped_heads(self) -> tuple[Mapping[int, int], ...] | None:
        """The same for each head, in the order of `heads()`; None if one of them has no mapping."""
        flipped = [flipped_labels(self._mirror_of(names), names) for names in self.heads().values()]
        known = tuple(each for each in flipped if each is not None)
        return known if len(known) == len(flipped) else None

    def _mirror_of(self, classes: Sequence[str]) -> FlipLabels:
        """Of pairs, those that some classes are meant by; a pair that is of no classes stays, to be refused."""
        if not isinstance(self.mirror, FlipPairsSpec) or not self.label_columns:
            return self.mirror
        spaces = [set(self.classes()), *map(set, self.heads().values())]
        own = [
            pair
            for pair in self.mirror.pairs
            if set(pair) & set(classes) or not any(set(pair) & each for each in spaces)
        ]
        return self.mirror.model_copy(update={"pairs": tuple(own)})

    def _column_names(self) -> dict[str, str]:
        """The name in the file of each column, by the name that rows have for it."""
        names = self.columns.model_dump()
        if not self.columns.labels:
            del names[LABELS]
        return names | {head_column(head): column for head, column in self.label_columns.items()}

    def _annotations(self) -> Path:
        return _expand(self.annotations, "annotations")

    def _root(self) -> str:
        return root_address(self.root or str(self._annotations().parent), "data.dataset.root")

    def _rows(self) -> tuple[list[Row], dict[Split, list[Row]]]:
        """The rows of the list, and those of separate lists by split."""
        rows = self._read(self._annotations())
        if not isinstance(self.split_by, FileSplitSpec):
            return rows, {}
        paths = self.split_by.list_paths()
        return rows, {split: self._read(_expand(path, field)) for split, (path, field) in paths.items()}

    def _read(self, path: Path) -> list[Row]:
        columns = self._column_names()
        form = table_form(has_labels=bool(self.columns.labels), heads=self.label_columns)
        if path.suffix == ".jsonl":
            return read_json_rows(path, columns=columns, form=form)
        return read_rows(path, delimiter=self.delimiter, columns=columns, form=form)

    def _all_rows(self) -> list[Row]:
        """The rows of all lists."""
        rows, others = self._rows()
        return [*rows, *(row for some in others.values() for row in some)]

    @listed_once
    def _given_classes(self) -> tuple[str, ...]:
        given = given_names(self.class_names, "class_names.path")
        if given is not None:
            return given
        found: list[tuple[str, str]] = []
        for row in self._all_rows():
            single = [row.values["label"]] if row.values.get("label") else []
            several = split_labels(row.values.get(LABELS, ""), row.origin)
            found += [(label, row.origin) for label in (*single, *several)]
        if found:
            return infer_classes(found)
        if self.label_columns and not self.columns.labels:
            return ()
        raise InputError(str(self._annotations()), "no clip has a class", fix="fill in the column of the labels")

    @listed_once
    def _split(self) -> dict[Split, list[Clip]]:
        rows, listed = self._rows()
        positions = {name: index for index, name in enumerate(self._given_classes())}
        root = self._root()
        of_heads = {name: {each: index for index, each in enumerate(names)} for name, names in self.heads().items()}
        every = [*rows, *(row for some in listed.values() for row in some)]
        has_label = any("label" in row.values for row in every)

        def as_clip(row: Row) -> Clip:
            clip = self._as_clip(row, root)
            return replace(
                clip,
                label=single_label(row, positions, is_needed=has_label),
                labels=label_positions(row.values[LABELS], positions, row.origin) if self.columns.labels else None,
                head_labels=tuple(
                    label_position(row.values[head_column(name)], own, row.origin) for name, own in of_heads.items()
                ),
            )

        clips = [as_clip(row) for row in rows]
        others: dict[Split, list[Clip]] = {split: [as_clip(row) for row in own] for split, own in listed.items()}
        if self.columns.labels:
            check_named_once([*clips, *(clip for own in others.values() for clip in own)])
        found: dict[Split, list[Clip]] = {"train": [], "val": [], "test": []}
        if isinstance(self.split_by, FileSplitSpec):
            found["train"] = clips
            return found | others
        for clip, split in zip(clips, assign_splits(self.split_by, rows, clips, self._column_names()), strict=True):
            found[split].append(clip)
        return found

    def _as_clip(self, row: Row, root: str) -> Clip:
        """The clip of a row, without its labels."""
        start, end = as_span(row)
        if self.frame_pattern and not (start is None and end is None):
            raise InputError(
                row.origin, "a start or end, and frames in a folder have no times", fix="leave the two cells empty"
            )
        return Clip(
            path=resolve_inside(root, row.values["path"], row.origin),
            label=None,
            start_seconds=start,
            end_seconds=end,
            reversed=as_flag(row, "reversed"),
            group=row.values.get("group", ""),
            frame_pattern=self.frame_pattern,
            origin=row.origin,
        )


def given_names(spec: ClassNames, field: str) -> tuple[str, ...] | None:
    """The classes that a document gives, here or in a file; None if they come from the labels."""
    if isinstance(spec, GivenNamesSpec):
        return spec.names
    if isinstance(spec, NumberedNamesSpec):
        return tuple(str(index) for index in range(spec.count))
    return read_class_names(_expand(spec.path, field)) if isinstance(spec, NamesFileSpec) else None


def _expand(path: str, field: str) -> Path:
    return Path(expand(path, f"data.dataset.{field}"))
