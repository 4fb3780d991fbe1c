"""What a check tells: counts, problems, and how classes, captions, lengths and sizes are spread."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from side4video.apps.data_check.check import CheckResult, Work
from side4video.apps.data_check.findings import KINDS, Problem, find_problems
from side4video.apps.data_check.label_notes import label_notes
from side4video.apps.data_check.listing import clip_key
from side4video.data.clip import Split

MAX_BARS = 24
"""Of a histogram, at most."""
_LOGARITHMIC_FROM = 30
"""Ratio of the largest value to the smallest."""
Counts = Mapping[str, Mapping[str, int]]
"""By name, then by split."""


@dataclass(frozen=True)
class SplitCount:
    """What there is of a split."""

    records: int
    """Lines of the lists."""
    files: int
    """Files, or folders of frames, that are there."""
    bytes: int
    """Of these."""


@dataclass(frozen=True)
class Histogram:
    """How values are spread; bar `i` counts those from edge `i` to edge `i + 1`."""

    unit: str
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]
    least: float
    median: float
    most: float


@dataclass(frozen=True)
class DataReport:
    """All of it."""

    name: str
    """The experiment's."""
    dataset: str
    """Its kind."""
    fingerprint: str
    """What runs carry; empty where the data set would stop a run."""
    splits: Mapping[Split, SplitCount]
    problems: Sequence[Problem]
    decoded: int
    """Clips that were decoded, or are known from an earlier check."""
    decodable: int
    """Different clips whose file is there."""
    classes: Counts
    """Records of each class; empty where there are captions in their place."""
    histograms: Mapping[str, Histogram]
    sizes: Counts
    """Decoded clips by `width x height`."""
    work: Work
    notes: Sequence[str] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def of_kind(self, kind: str, split: str | None = None) -> list[Problem]:
        """The problems of a kind, in one split or all."""
        return [each for each in self.problems if each.kind == kind and split in (None, each.split)]

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        document = {key: value for key, value in asdict(self).items() if key != "problems"}
        problems = {kind: [asdict(each) for each in self.of_kind(kind)] for kind in KINDS}
        for entries in problems.values():
            for entry in entries:
                del entry["kind"]
        return {"clean": self.is_clean, **document, "problems": problems}


def make_report(name: str, dataset: str, checked: CheckResult, *, frames: int, notes: Sequence[str] = ()) -> DataReport:
    """Put together what the walk found.

    `frames` is the number of frames that a run reads of a clip; `notes` are sentences for the reader.
    """
    listing, facts = checked.listing, checked.facts
    keys = {clip_key(clip) for _, clip in listing.clips() if (version := checked.versions[clip.path]) and version.bytes}
    classes = _count_classes(checked)
    bare = [each for each, counts in classes.items() if not counts["train"]]
    found = [*notes]
    if len(facts) < len(keys):
        found.append(f"{len(facts)} of {len(keys)} clips were decoded; --all decodes all")
    if bare:
        found.append(f"{len(bare)} of {len(classes)} classes have no training clip, the first: {bare[0]}")
    found += label_notes(checked)
    return DataReport(
        name=name,
        dataset=dataset,
        fingerprint=listing.fingerprint,
        splits={split: _count_split(checked, split) for split in listing.splits},
        problems=find_problems(checked, frames),
        decoded=len(facts),
        decodable=len(keys),
        classes=classes,
        histograms={key: each for key, each in _histograms(checked).items() if each is not None},
        sizes=_count_sizes(checked),
        work=checked.work,
        notes=found,
    )


def _count_split(checked: CheckResult, split: Split) -> SplitCount:
    clips = checked.listing.splits[split]
    versions = [version for path in {clip.path for clip in clips} if (version := checked.versions[path])]
    return SplitCount(len(clips), len(versions), sum(version.bytes for version in versions))


def _count_classes(checked: CheckResult) -> Counts:
    counts = {
        split: Counter(position for clip in clips for position in {clip.label, *(clip.labels or ())})
        for split, clips in checked.listing.splits.items()
    }
    return {
        name: {split: counts[split][position] for split in counts}
        for position, name in enumerate(checked.listing.classes)
    }


def _count_sizes(checked: CheckResult) -> Counts:
    decoded = _decoded(checked)
    counts = {split: Counter(f"{each.width} x {each.height}" for each in decoded[split]) for split in decoded}
    total = sum(counts.values(), Counter())
    return {size: {split: counts[split][size] for split in counts} for size, _ in total.most_common()}


def _decoded(checked: CheckResult) -> dict[Split, list[Any]]:
    """The facts of what could be decoded, each clip once in a split."""
    found: dict[Split, list[Any]] = {}
    for split, clips in checked.listing.splits.items():
        keys = dict.fromkeys(clip_key(clip) for clip in clips)
        facts = [each for key in keys if (each := checked.facts.get(key))]
        found[split] = [each for each in facts if not each.broken]
    return found


def _histograms(checked: CheckResult) -> dict[str, Histogram | None]:
    decoded = _decoded(checked)
    splits = checked.listing.splits
    captions = {
        split: [sum(map(bool, clip.captions)) for clip in clips if clip.captions or not clip.is_labelled]
        for split, clips in splits.items()
    }
    sizes = {
        split: [version.bytes for path in {clip.path for clip in clips} if (version := checked.versions[path])]
        for split, clips in splits.items()
    }
    seconds = {split: [each.seconds for each in facts if each.seconds is not None] for split, facts in decoded.items()}
    return {
        "captions": spread(captions, "captions per video"),
        "frames": spread({split: [each.frames for each in facts] for split, facts in decoded.items()}, "frames"),
        "seconds": spread(seconds, "seconds"),
        "bytes": spread(sizes, "bytes"),
    }


def spread(values: Mapping[str, Sequence[float]], unit: str) -> Histogram | None:
    """The histogram of values, on a logarithmic axis where they span a factor of 30; None where there are none."""
    all_values = [value for some in values.values() for value in some]
    if not all_values:
        return None
    least, most = min(all_values), max(all_values)
    if all(float(value).is_integer() for value in all_values) and most - least < MAX_BARS:
        edges = np.arange(least - 0.5, most + 1)
    elif least == most:
        edges = np.array([least - 0.5, least + 0.5])
    elif least > 0 and most / least > _LOGARITHMIC_FROM:
        edges = np.geomspace(least, most, MAX_BARS + 1)
    else:
        edges = np.linspace(least, most, MAX_BARS + 1)
    edges[-1] = max(edges[-1], math.nextafter(most, math.inf))
    edges[0] = min(edges[0], least)
    return Histogram(
        unit,
        tuple(float(edge) for edge in edges),
        {split: tuple(int(count) for count in np.histogram(some, edges)[0]) for split, some in values.items()},
        least,
        median(all_values),
        most,
    )
