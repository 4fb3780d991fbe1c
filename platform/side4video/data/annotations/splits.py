"""How clips are divided into training, validation and test: by a column, by lists, by group, or at random."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from side4video.core.bounds import Seed
from side4video.core.errors import InputError
from side4video.core.seeds import derive_seed
from side4video.core.spec import ADDED_LATER, PathText, Spec, wrong
from side4video.data.annotations.tables import Row
from side4video.data.clip import Clip, Split
from side4video.data.storage import common_root, relative_path

OTHER_NAMES: Mapping[str, Split] = {"validation": "val", "valid": "val"}
"""Names of splits that lists and people also use."""

ValidationFraction = Annotated[float, Field(ge=0, lt=1), ADDED_LATER]


class ColumnSplitSpec(Spec):
    """A column of the list contains `train`, `val` or `test`."""

    kind: Literal["column"] = "column"


class FileSplitSpec(Spec):
    """The test clips are in a second list, and those of validation in a third one."""

    kind: Literal["file"] = "file"
    test_annotations: PathText
    """Path of the list of test clips, in the same format as `annotations`; may contain `${NAME}`."""
    val_annotations: Annotated[PathText, ADDED_LATER] = ""
    """Path of the list of validation clips; may contain `${NAME}`. Empty: there is no validation split."""

    def list_paths(self) -> dict[Split, tuple[str, str]]:
        """By split: the path of its own list, and the field that names it."""
        found: dict[Split, tuple[str, str]] = {"test": (self.test_annotations, "split_by.test_annotations")}
        if self.val_annotations:
            found["val"] = (self.val_annotations, "split_by.val_annotations")
        return found


class GroupSplitSpec(Spec):
    """Whole groups are assigned to training, validation or test at random."""

    kind: Literal["group"] = "group"
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Desired share of test clips in each class, between 0 and 1. Groups are never divided, so it is met as closely as
    the groups allow."""
    val_fraction: ValidationFraction = 0.0
    """Desired share of validation clips in each class. 0: there is no validation split."""
    seed: Seed = 0
    """Seed of the random assignment."""
    ungrouped: Literal["train", "own"] = "train"
    """Clips without a group: `train` puts all of them in training, because their source is unknown; `own` treats each
    as a group of its own."""

    @model_validator(mode="after")
    def some_clips_are_for_training(self) -> Self:
        """Validation and test leave clips for training."""
        _check_fractions(self.val_fraction, self.test_fraction)
        return self


class RandomSplitSpec(Spec):
    """Each video is assigned to training, validation or test at random, in each class by itself.

    Spans of one file stay together. Clips that were cut out of one recording do not: for them take `group`.
    """

    kind: Literal["random"] = "random"
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of test videos in each class, between 0 and 1; at least one video of each class that has two."""
    val_fraction: ValidationFraction = 0.0
    """Share of validation videos in each class; at least one video of each class that has three. 0: there is no
    validation split."""
    seed: Seed = 0
    """Seed of the random assignment."""

    @model_validator(mode="after")
    def some_clips_are_for_training(self) -> Self:
        """Validation and test leave clips for training."""
        _check_fractions(self.val_fraction, self.test_fraction)
        return self


SplitBy = Annotated[ColumnSplitSpec | FileSplitSpec | GroupSplitSpec | RandomSplitSpec, Field(discriminator="kind")]


def has_validation(spec: Spec) -> bool:
    """Whether a way to divide clips is asked for a validation split; of a column only its rows tell."""
    return bool(getattr(spec, "val_fraction", 0) or getattr(spec, "val_annotations", ""))


def assign_splits(
    spec: ColumnSplitSpec | GroupSplitSpec | RandomSplitSpec,
    rows: Sequence[Row],
    clips: Sequence[Clip],
    columns: Mapping[str, str],
) -> list[Split]:
    """The split of each clip.

    `rows` has the row of each clip, `columns` the list's name for each column, for messages.

    Raises:
        InputError: The list has no column to divide it by, or a cell that names no split.
    """
    if isinstance(spec, ColumnSplitSpec):
        return [_split_of(row, columns["split"]) for row in rows]
    if isinstance(spec, RandomSplitSpec):
        return split_at_random(clips, spec)
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
    splits: list[Split] = ["train"] * len(clips)
    for index, split in zip(grouped, split_by_group([clips[index] for index in grouped], groups, spec), strict=True):
        splits[index] = split
    return splits


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    if val_fraction + test_fraction >= 1:
        raise wrong(
            "data.dataset.split_by.val_fraction",
            f"{val_fraction:g}, and test_fraction is {test_fraction:g}: nothing is left for training",
            allowed="fractions whose sum is below 1",
            fix="make one of them smaller",
        )


def _split_of(row: Row, column: str) -> Split:
    split = row.values.get("split")
    if split is None:
        raise InputError(
            row.origin,
            f"the list has no column {column!r}",
            fix="add one with train, val or test in each row, or choose another split_by: random, group, file",
        )
    if split in ("train", "val", "test"):
        return split
    if split in OTHER_NAMES:
        return OTHER_NAMES[split]
    raise InputError(row.origin, f"split is {split!r}", allowed="train, val, test")


def split_by_group(clips: Sequence[Clip], groups: Sequence[str], spec: GroupSplitSpec) -> list[Split]:
    """The split of each clip, so that clips of a group share one; `groups` has the group of each clip.

    The test side is chosen first and does not depend on `val_fraction`.
    """
    is_test = choose_groups(clips, groups, fraction=spec.test_fraction, seed=spec.seed)
    splits: list[Split] = ["test" if test else "train" for test in is_test]
    if spec.val_fraction:
        rest = [index for index, test in enumerate(is_test) if not test]
        share = spec.val_fraction / (1 - spec.test_fraction)
        seed = derive_seed(spec.seed, "validation")
        chosen = choose_groups([clips[n] for n in rest], [groups[n] for n in rest], fraction=share, seed=seed)
        for index, is_chosen in zip(rest, chosen, strict=True):
            splits[index] = "val" if is_chosen else "train"
    return splits


def split_at_random(clips: Sequence[Clip], spec: RandomSplitSpec) -> list[Split]:
    """The split of each clip. A file's depends on its path below the common folder, its class and the seed."""
    root = common_root([clip.path for clip in clips])  # the split must not depend on where that is
    files: dict[str, int | None] = {}
    for clip in clips:
        files.setdefault(clip.path, clip.label)
    by_class: dict[int | None, list[str]] = defaultdict(list)
    for path, label in files.items():
        by_class[label].append(path)
    splits: dict[str, Split] = {}
    for paths in by_class.values():
        ranked = sorted(
            paths, key=lambda path: (derive_seed(spec.seed, "random split", relative_path(path, root)), path)
        )
        tests = _share(spec.test_fraction, len(ranked), at_most=len(ranked) - 1)
        validations = _share(spec.val_fraction, len(ranked), at_most=len(ranked) - tests - 1)
        for position, path in enumerate(ranked):
            splits[path] = "test" if position < tests else "val" if position < tests + validations else "train"
    return [splits[clip.path] for clip in clips]


def _share(fraction: float, count: int, *, at_most: int) -> int:
    """A share of `count` in whole numbers: at least one if the fraction is above 0, and at most `at_most`."""
    return min(max(round(fraction * count), 1), max(0, at_most)) if fraction else 0


def choose_groups(clips: Sequence[Clip], groups: Sequence[str], *, fraction: float, seed: int) -> list[bool]:
    """Say for each clip whether its group is chosen.

    Groups are visited in an order drawn from the seed; one is chosen if that brings the class counts of the chosen
    nearer to `fraction` of each class. So classes stay balanced as far as the groups allow, and adding a clip to one
    group moves few others. `groups` has the group of each clip; `fraction` is the share wanted, 0 to 1.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    wanted = {label: count * fraction for label, count in Counter(clip.label for clip in clips).items()}
    missing = dict(wanted)
    is_chosen = [False] * len(clips)
    for group in sorted(members, key=lambda name: derive_seed(seed, "split", name)):
        counts = Counter(clips[position].label for position in members[group])
        gain = sum(abs(missing[label]) - abs(missing[label] - count) for label, count in counts.items())
        if gain > 0:
            for label, count in counts.items():
                missing[label] -= count
            for position in members[group]:
                is_chosen[position] = True
    return is_chosen


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
