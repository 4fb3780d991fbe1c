"""Divides clips into training, validation and test where their source does not, and counts them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from side4video.apps.init.found_data import FoundData, read_dataset
from side4video.core.errors import InputError
from side4video.data.annotations.splits import GroupSplitSpec, RandomSplitSpec, assign_splits
from side4video.data.annotations.tables import Row, shorten_list
from side4video.data.clip import SPLITS, Clip, Split
from side4video.data.datasets import FolderSpec

TEST_FRACTION, VAL_FRACTION = 0.2, 0.1
MIN_CLASS_FOR_VALIDATION = 10
"""With fewer videos in most classes, a tenth of a class is less than one video."""
MIN_CAPTIONED_FOR_VALIDATION = 50
"""With fewer captioned videos, ranks among the tenth of them say nothing."""


@dataclass(frozen=True)
class DividedData:
    """A data set whose clips are divided."""

    dataset: dict[str, Any]
    """The section `data.dataset`, whole."""
    clips: dict[Split, Sequence[Clip]]
    classes: tuple[str, ...]
    """Empty for captions."""
    text: str
    """How the clips are divided, for people."""
    can_flip: bool
    """Whether a flipped clip has a known label."""
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Clips of each split."""
        return {split: len(clips) for split, clips in self.clips.items()}

    @property
    def all_clips(self) -> list[Clip]:
        """The clips of all splits."""
        return [clip for clips in self.clips.values() for clip in clips]


def divide(found: FoundData, dataset: dict[str, Any]) -> DividedData:
    """Divide a data set, or count how it is divided.

    `dataset` is the section `data.dataset` with what the user has set; a `split_by` in it is kept.

    Raises:
        InputError: The data set cannot be read, or has too few videos or classes.
    """
    if found.is_divided or "split_by" in dataset:
        divided = _read(dataset, found.split_text or "as you have set it")
    else:
        divided = _choose(found, dataset)
    if found.task == "recognition":
        _check_classes(divided, found)
    return divided


def _choose(found: FoundData, dataset: dict[str, Any]) -> DividedData:
    """The first way to divide that leaves clips of each class for training, and some for test."""
    problem = None
    for split_by, text in _ways(found):
        try:
            divided = _read({**dataset, "split_by": split_by}, text)
        except InputError as error:
            if error.found.startswith("no clip is for") or error.found.startswith("no video is for"):
                problem = error
                continue
            raise
        if _is_usable(divided, is_by_group=split_by["kind"] == "group"):
            return _with_or_without_validation(divided, dataset, split_by, text)
    raise InputError(
        str(found.place),
        "too few videos: none is left for test" if problem else "too few videos to divide",
        allowed="at least two videos of one class, and one of another",
        fix="add videos",
    )


def _ways(found: FoundData) -> Iterator[tuple[dict[str, Any], str]]:
    fractions = {"test_fraction": TEST_FRACTION, "val_fraction": VAL_FRACTION}
    if found.groups:
        text = f"chosen here at random by group, which is {found.groups}; clips of a group stay together"
        yield {"kind": "group", **fractions}, text
    yield (
        {"kind": "random", **fractions},
        "chosen here at random, class by class" * (found.task == "recognition") or "chosen here at random",
    )


def _is_usable(divided: DividedData, *, is_by_group: bool) -> bool:
    training = {clip.label for clip in divided.clips["train"]}
    testing = {clip.label for clip in divided.clips["test"]}
    every = {clip.label for clip in divided.all_clips}
    if not training or not testing:
        return False
    return not is_by_group or training == testing == every


def _with_or_without_validation(
    divided: DividedData, dataset: dict[str, Any], split_by: dict[str, Any], text: str
) -> DividedData:
    clips = divided.all_clips
    sizes = Counter(clip.label for clip in clips)
    if divided.classes:
        is_enough = median(sizes.values()) >= MIN_CLASS_FOR_VALIDATION
        why = f"most classes have fewer than {MIN_CLASS_FOR_VALIDATION} videos"
    else:
        is_enough = len(clips) >= MIN_CAPTIONED_FOR_VALIDATION
        why = f"there are fewer than {MIN_CAPTIONED_FOR_VALIDATION} videos"
    if is_enough and divided.clips.get("val"):
        return divided
    kept = {key: value for key, value in split_by.items() if key != "val_fraction"}
    without = _read({**dataset, "split_by": kept}, text)
    without.notes.append(f"there is no validation split, because {why}; so the weights of the last epoch are taken")
    return without


def _read(document: dict[str, Any], text: str) -> DividedData:
    spec = read_dataset(document)
    if isinstance(spec, FolderSpec) and isinstance(spec.split_by, GroupSplitSpec | RandomSplitSpec):
        clips = _read_folders(spec)
    else:
        clips = _read_splits(spec)
    classes = spec.classes()
    can_flip = spec.flipped_classes() is not None
    return DividedData(document, clips, classes, text, can_flip)


def _read_splits(spec: Any) -> dict[Split, Sequence[Clip]]:
    return {split: spec.clips(split) for split in spec.splits()}


def _read_folders(spec: FolderSpec) -> dict[Split, Sequence[Clip]]:
    """The clips of a folder that is divided at random; it is listed once, which counts where there are many files."""
    split_by = spec.split_by
    assert isinstance(split_by, GroupSplitSpec | RandomSplitSpec)  # noqa: S101 - for the type checker
    clips = spec._in_classes(spec._root())
    rows = [Row(clip.origin, {"group": clip.group}) for clip in clips]
    found: dict[Split, list[Clip]] = {split: [] for split in SPLITS}
    for clip, split in zip(clips, assign_splits(split_by, rows, clips, {"group": "group"}), strict=True):
        found[split].append(clip)
    if not found["test"]:
        raise InputError(spec._root(), "no clip is for test")
    return {split: each for split, each in found.items() if each}


def _check_classes(divided: DividedData, found: FoundData) -> None:
    sizes = Counter(divided.classes[clip.label] for clip in divided.all_clips if clip.label is not None)
    if len(sizes) < 2:
        raise InputError(
            str(found.place),
            f"one class, {next(iter(sizes), '')!r}: there is nothing to tell apart",
            allowed="at least two classes",
            fix="add videos of something else",
        )
    single = [name for name, size in sizes.items() if size == 1]
    if single:
        are = "class has" if len(single) == 1 else "classes have"
        divided.notes.append(f"{len(single)} {are} one video only, which is never tested: {shorten_list(single)}")
