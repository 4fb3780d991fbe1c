"""How one list becomes training and test clips: by a column, by a second list, or drawn group by group."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.spec import Spec
from side4video.data.annotations import Row
from side4video.data.clip import Clip
from side4video.data.splits import split_by_group


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


def held_out(
    spec: ColumnSplitSpec | GroupSplitSpec, rows: Sequence[Row], clips: Sequence[Clip], columns: Mapping[str, str]
) -> list[bool]:
    """Say for each clip whether it is a test clip.

    Args:
        spec: How the list is divided.
        rows: The row of each clip.
        clips: The clips.
        columns: The list's name for each column, for messages.

    Raises:
        InputError: The list has no column to divide it by, or a cell that is neither `train` nor `test`.
    """
    if isinstance(spec, ColumnSplitSpec):
        return [_is_test(row, columns["split"]) for row in rows]
    if "group" not in rows[0].values:
        raise InputError(
            rows[0].origin,
            f"split_by is group, and the list has no column {columns['group']!r}",
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
