"""How a list is divided into training and test clips: by a column, by a second list, or at random by group."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.bounds import Seed
from side4video.core.errors import InputError
from side4video.core.seeds import derive_seed
from side4video.core.spec import PathText, Spec
from side4video.data.annotations.tables import Row
from side4video.data.clip import Clip
from side4video.data.storage import common_root, relative_path


class ColumnSplitSpec(Spec):
    """A column of the list contains `train` or `test`."""

    kind: Literal["column"] = "column"


class FileSplitSpec(Spec):
    """The test clips are in a second list."""

    kind: Literal["file"] = "file"
    test_annotations: PathText
    """Path of the list of test clips, in the same format as `annotations`; may contain `${NAME}`."""


class GroupSplitSpec(Spec):
    """Whole groups are assigned to training or test at random."""

    kind: Literal["group"] = "group"
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Desired share of test clips in each class, between 0 and 1. Groups are never divided, so it is met as closely as
    the groups allow."""
    seed: Seed = 0
    """Seed of the random assignment."""
    ungrouped: Literal["train", "own"] = "train"
    """Clips without a group: `train` puts all of them in training, because their source is unknown; `own` treats each
    as a group of its own."""


SplitBy = Annotated[ColumnSplitSpec | FileSplitSpec | GroupSplitSpec, Field(discriminator="kind")]


def mark_test_clips(
    spec: ColumnSplitSpec | GroupSplitSpec, rows: Sequence[Row], clips: Sequence[Clip], columns: Mapping[str, str]
) -> list[bool]:
    """Say for each clip whether it is a test clip.

    `rows` has the row of each clip, `columns` the list's name for each column, for messages.

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
    # A clip without a group is its own group. The leading space keeps the name apart from real groups, which are
    # stripped.
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


def split_by_group(clips: Sequence[Clip], groups: Sequence[str], *, test_fraction: float, seed: int) -> list[bool]:
    """Say for each clip whether it is a test clip.

    Groups are visited in an order drawn from the seed; one goes to the test side if that brings the test side's class
    counts nearer to `test_fraction` of each class. So classes stay balanced as far as the groups allow, and adding a
    clip to one group moves few others. `groups` has the group of each clip; `test_fraction` is the share wanted for
    test, 0 to 1.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    wanted = {label: count * test_fraction for label, count in Counter(clip.label for clip in clips).items()}
    missing = dict(wanted)
    is_test = [False] * len(clips)
    for group in sorted(members, key=lambda name: derive_seed(seed, "split", name)):
        counts = Counter(clips[position].label for position in members[group])
        gain = sum(abs(missing[label]) - abs(missing[label] - count) for label, count in counts.items())
        if gain > 0:
            for label, count in counts.items():
                missing[label] -= count
            for position in members[group]:
                is_test[position] = True
    return is_test


def training_subset(clips: Sequence[Clip], fraction: float, seed: int) -> list[int]:
    """Indices of the clips in a fraction of the training set, in order.

    The fraction is taken from each class and rounded up. A smaller fraction is a subset of a larger one. The rank of a
    clip depends only on its file and span, so the forward and backward samples of one clip stay together.
    """
    if fraction >= 1:
        return list(range(len(clips)))
    members: dict[int | None, list[int]] = defaultdict(list)
    for position, clip in enumerate(clips):
        members[clip.label].append(position)
    root = common_root([clip.path for clip in clips])  # the subset must not depend on where that is

    def rank(position: int) -> tuple[int, int]:
        clip = clips[position]
        span = (str(clip.start_seconds), str(clip.end_seconds))
        name = clip.name or relative_path(clip.path, root)
        return derive_seed(seed, "fraction", f"/{name}", *span), position

    kept = [
        position
        for positions in members.values()
        for position in sorted(positions, key=rank)[: math.ceil(len(positions) * fraction - 1e-9)]
    ]
    return sorted(kept)
