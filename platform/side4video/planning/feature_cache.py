"""Size of a feature cache (exact), and the number of epochs after which it saves time (estimated).

N: rows of a training epoch. M: rows evaluated. k: epochs between evaluations. V: views. c: seconds to compute a
row (2 * multiply-adds / rate of all workers). r: seconds to read or write a row (bytes / rate of the disk).

    computed, e epochs:  e (N + M/k) c
    cached, e epochs:    (V N + M) (c + r)  +  e (N + M/k) r
    break-even:          e = (V N + M) (c + r) / ((N + M/k) (c - r)), rounded up;  never, if r >= c

The estimate is pessimistic for the cache: reading counts fully, although a thread reads while students compute, and the
saved decoding is not counted.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from side4video.core.errors import InputError
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip, Split
from side4video.data.datasets import MotionSpec
from side4video.data.features import CachedFeaturesSpec, training_draws
from side4video.data.features.cache import plan_stores
from side4video.data.features.files import row_bytes
from side4video.data.features.spec import SUGGESTED_VIEWS
from side4video.data.features.store import data_layouts
from side4video.data.spec import DataSpec, clip_counts
from side4video.models.frozen_features import entry_layouts
from side4video.planning.meta_model import MetaModel
from side4video.planning.rates import DISK_GIGABYTES_PER_SECOND, SUSTAINED_TERAFLOPS
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class ClipCounts:
    """Number of clips of a data section."""

    train: int
    """Training clips, after `train_fraction`."""
    test: int
    val: int = 0
    """0: there is no validation split."""

    def by_split(self) -> dict[Split, int]:
        """The number of clips of each split that is there."""
        counts: dict[Split, int] = {"train": self.train, "test": self.test}
        return {**counts, "val": self.val} if self.val else counts


@dataclass(frozen=True)
class FeatureCachePlan:
    """The plan of one experiment's cache."""

    is_used: bool
    """Whether the experiment uses a cache. If not, the plan is for the cache that it could use."""
    train_clips: int
    test_clips: int
    views: int
    """Versions of each training clip; assumed if the experiment gives none."""
    bytes_per_clip: dict[str, int]
    """Bytes of one row (one copy of a clip in one view), by entry."""
    train_bytes: int
    test_bytes: int
    total_bytes: int
    """Bytes of the tensors, without headers (about 1 kB per file)."""
    compute_seconds_per_clip: float
    """Time of the frozen pass of one row, on all workers together. This and all following fields are estimates."""
    read_seconds_per_clip: float
    """Time to read or write one row."""
    build_seconds: float
    epochs: float
    """Epochs of the training."""
    break_even_epochs: int | None
    """Epoch from which on the cache has saved time. None: never, because reading is slower than computing."""
    assumed_sustained_teraflops: float
    assumed_disk_gigabytes_per_second: float

    @property
    def pays(self) -> bool:
        """Whether the cache saves time within the training."""
        return self.break_even_epochs is not None and self.break_even_epochs <= self.epochs

    def as_json(self) -> dict[str, object]:
        """JSON values."""
        return {**asdict(self), "pays": self.pays}


def plan_feature_cache(
    spec: Experiment,
    meta_model: MetaModel,
    counts: ClipCounts,
    *,
    multiply_adds_frozen: int,
    sustained_teraflops: float = SUSTAINED_TERAFLOPS,
    disk_gigabytes_per_second: float = DISK_GIGABYTES_PER_SECOND,
) -> FeatureCachePlan | None:
    """Plan a cache, and compare reading with computing (see the module). None if no cache is possible.

    No cache is possible for a method that changes the tower, or if clips are mixed. `multiply_adds_frozen` are those of
    the frozen pass for one clip. `sustained_teraflops` is of one worker's device, and `disk_gigabytes_per_second` (10^9
    bytes) of the disk for all workers together.
    """
    if not spec.method.packable or spec.data.augmentation.mixes_clips:
        return None
    features, data = _cached_spec(spec), spec.data
    layouts = _tower_layouts(spec, meta_model)
    by_split = counts.by_split()
    nothing: dict[Split, Mapping[str, object]] = {split: {} for split in by_split}
    stores = plan_stores(features, data, by_split, layouts=layouts, root=Path(), identities=nothing)
    train, test = stores["train"], stores["test"]
    bytes_per_clip = {entry: row_bytes(layout) for entry, layout in train.layouts.items()}
    compute = 2 * multiply_adds_frozen / (sustained_teraflops * 1e12 * spec.cluster.min_workers)
    read = read_seconds(spec, meta_model, disk_gigabytes_per_second)
    train_rows, rows_of_a_view = counts.train * train.copies, test.copies * test.views
    build = (features.pool * train_rows + (counts.test + counts.val) * rows_of_a_view) * (compute + read)
    evaluated = (counts.val or counts.test) * rows_of_a_view
    rows_of_an_epoch = train_rows + evaluated / spec.evaluation.every_epochs
    saved = rows_of_an_epoch * (compute - read)
    steps = max(1, counts.train // spec.optimization.batch_size)
    return FeatureCachePlan(
        is_used=spec.features.kind == "cached",
        train_clips=counts.train,
        test_clips=counts.test,
        views=features.pool,
        bytes_per_clip=bytes_per_clip,
        train_bytes=train.bytes,
        test_bytes=test.bytes,
        total_bytes=sum(store.bytes for store in stores.values()),
        compute_seconds_per_clip=compute,
        read_seconds_per_clip=read,
        build_seconds=build,
        epochs=spec.optimization.length.in_steps(steps) / steps,
        break_even_epochs=math.ceil(build / saved) if saved > 0 else None,
        assumed_sustained_teraflops=sustained_teraflops,
        assumed_disk_gigabytes_per_second=disk_gigabytes_per_second,
    )


def read_seconds(spec: Experiment, meta_model: MetaModel, disk_gigabytes_per_second: float) -> float:
    """Seconds to read one row: one copy of a clip, its frames and all features that the student reads."""
    layouts = {**data_layouts(spec.data), **_tower_layouts(spec, meta_model)}
    return sum(row_bytes(layout) for layout in layouts.values()) / (disk_gigabytes_per_second * 1e9)


def _tower_layouts(spec: Experiment, meta_model: MetaModel) -> dict[str, dict[str, Tensor]]:
    tower = meta_model.tower
    return entry_layouts(
        tower.shape,
        meta_model.reads,
        frames=spec.data.frames,
        dtype=tower.dtype,
        keeps_int8=tower.keeps_int8,
    )


def count_clips(data: DataSpec) -> ClipCounts | None:
    """Number of clips of a data section; None if its lists are not on this machine. Nothing is rendered."""
    dataset = data.listed
    if isinstance(data.dataset, MotionSpec):
        counts, classes = clip_counts(data), len(dataset.classes())
        train = [Clip(str(number), label=number % max(1, classes)) for number in range(counts["train"])]
        test, val = counts["test"], 0
    else:
        try:
            train, test = dataset.clips("train"), len(dataset.clips("test"))
            val = len(dataset.clips("val")) if "val" in dataset.splits() else 0
        except InputError:
            return None
    return ClipCounts(len(training_subset(train, data.train_fraction, data.seed)), test, val)


def _cached_spec(spec: Experiment) -> CachedFeaturesSpec:
    """The experiment's cache spec, or the one that it could use."""
    if isinstance(spec.features, CachedFeaturesSpec):
        return spec.features
    assumed = SUGGESTED_VIEWS if training_draws(spec.data) else 1
    return CachedFeaturesSpec(views=spec.features.pool or assumed)
