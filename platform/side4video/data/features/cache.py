"""The feature cache of one experiment: all splits, the disk space they need, and building them with all workers."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.core.paths import expand, home
from side4video.core.units import GIB, format_bytes, format_duration
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip, Split
from side4video.data.features.build import Builder, Compute
from side4video.data.features.files import Layout
from side4video.data.features.reader import StoredReader
from side4video.data.features.spec import CachedFeaturesSpec
from side4video.data.features.store import FeatureStore, MissingShard, data_identity, data_layouts
from side4video.data.spec import DataSpec
from side4video.data.streams.reader import BatchReader, EvaluationKey, EvaluationReader, TrainingKey, TrainingReader

log = logging.getLogger(__name__)

ReportProgress = Callable[[int, int], None]
"""Called with the number of finished clips of this worker, and the total."""


@dataclass(frozen=True)
class Clips:
    """The clips of a data set, with its fingerprint and flipped labels."""

    train: Sequence[Clip]
    test: Sequence[Clip]
    mirrored: Mapping[int, int] | None
    """The label of a flipped clip, by its label; None where flips are not allowed."""
    fingerprint: str
    """Of the data set."""
    val: Sequence[Clip] = ()
    """Empty if the data set has no validation split."""
    mirrored_heads: tuple[Mapping[int, int], ...] = ()
    """`mirrored` for each head."""


def cache_root(spec: CachedFeaturesSpec) -> Path:
    """The root folder of all feature caches.

    Raises:
        InputError: A variable in its name is not set.
    """
    return Path(expand(spec.folder, "features.folder")).absolute() if spec.folder else home() / "features"


def plan_stores(
    spec: CachedFeaturesSpec,
    data: DataSpec,
    clips: Mapping[Split, int],
    *,
    layouts: Mapping[str, Layout],
    root: Path,
    identities: Mapping[Split, Mapping[str, Any]],
) -> dict[Split, FeatureStore]:
    """The store of each split.

    `clips` are the numbers of clips by split, for training those of `train_fraction`; `layouts` says what is kept of
    the tower, by entry; `root` is the folder of all caches; `identities` has what the numbers depend on, by split.
    """
    whole = {**data_layouts(data), **layouts}
    return {
        split: FeatureStore(
            root,
            split,
            identities[split],
            whole,
            clips=count,
            views=spec.pool if split == "train" else data.views.clips,
            copies=data.repeated_sampling if split == "train" else data.views.crops,
            shard_clips=spec.shard_clips,
        )
        for split, count in clips.items()
    }


class FeatureCache:
    """The cached features of a data set. Every worker of a run has one, for the same files."""

    def __init__(
        self,
        spec: CachedFeaturesSpec,
        data: DataSpec,
        clips: Clips,
        *,
        tower: Mapping[str, Any],
        layouts: Mapping[str, Layout],
        is_pinned: bool = False,
    ) -> None:
        """Nothing is read or written yet.

        `tower` is what the tower's numbers depend on, as JSON values; `layouts` says what is kept of the tower, by
        entry. For `is_pinned` see `StoredReader`.

        Raises:
            InputError: The folder's name is wrong.
        """
        self.spec, self.layouts = spec, layouts
        self._data, self._clips = data, clips
        self._positions = training_subset(clips.train, data.train_fraction, data.seed) if clips.train else []
        mirrored = clips.mirrored or {}
        counts: dict[Split, int] = {"train": len(self._positions), "test": len(clips.test)}
        if clips.val:
            counts["val"] = len(clips.val)
        identities: dict[Split, Mapping[str, Any]] = {
            split: {
                **tower,
                "data": data_identity(
                    data,
                    split,
                    fingerprint=clips.fingerprint,
                    mirrored=mirrored,
                    mirrored_heads=clips.mirrored_heads,
                ),
            }
            for split in counts
        }
        self.stores = plan_stores(spec, data, counts, layouts=layouts, root=cache_root(spec), identities=identities)
        self.train, self.test = self.stores["train"], self.stores["test"]
        places = {index: position for position, index in enumerate(self._positions)}
        self.training = StoredReader(self.train, lambda key: (key.epoch, places[key.index]), is_pinned=is_pinned)
        self.testing = self._evaluation_reader("test", is_pinned=is_pinned)
        self.validation = self._evaluation_reader("val", is_pinned=is_pinned) if clips.val else None

    @property
    def bytes(self) -> int:
        """Total bytes, including files that are not built yet."""
        return sum(store.bytes for store in self.stores.values())

    def missing(self) -> list[tuple[Split, MissingShard]]:
        """Split and shard of all files to build."""
        return [(store.split, each) for store in self.stores.values() for each in store.missing()]

    def check_disk_space(self, missing: Sequence[tuple[Split, MissingShard]]) -> None:
        """Check the size limit and the free disk space, and write the index files.

        Raises:
            InputError: It is larger than the limit, or than what the disk has.
        """
        evaluated = " and ".join(
            f"{store.clips} {'validation' if split == 'val' else 'test'} clips"
            for split, store in self.stores.items()
            if split != "train"
        )
        rows = f"{self.train.views} versions of {self.train.clips} training clips and {self.test.views} of " + (
            f"{evaluated}, {len(self.layouts)} entries of the tower and the frames each"
        )
        if self.bytes > self.spec.limit_gib * GIB:
            raise InputError(
                "features",
                f"a cache of {format_bytes(self.bytes)}: {rows}",
                allowed=f"limit_gib: {self.spec.limit_gib:g}",
                fix="raise features.limit_gib, read fewer blocks, make fewer views, or compute: {kind: computed}",
            )
        needed = sum(self.stores[split].bytes_of(each) for split, each in missing)
        root = self.train.root
        try:
            root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(root).free
            for store in self.stores.values():
                store.write_index()
        except OSError as error:
            raise InputError("features.folder", f"{root} cannot be used: {error}", fix="name another folder") from error
        if needed > free:
            raise InputError(
                "features.folder",
                f"{format_bytes(needed)} have to be written to {root} ({rows}), and {format_bytes(free)} are free",
                fix="make room, name another folder, or compute: {kind: computed}",
            )

    def make(
        self,
        missing: Sequence[tuple[Split, MissingShard]],
        compute: Compute,
        *,
        rank: int,
        world: int,
        together: Callable[[Callable[[], None]], None],
        tell: ReportProgress,
    ) -> None:
        """Build missing shards with all workers, one shard per worker and round.

        Args:
            missing: The same list on every worker.
            compute: The tower.
            rank: Which worker this is.
            world: How many there are.
            together: Runs something on all workers, and raises on all of them what one raised.
            tell: Hears of this worker's progress.

        Raises:
            InputError: A clip is broken and the policy is to raise, more are than may be, the disk is full, or
                workers do not see each other's files.
        """
        started = time.perf_counter()
        mine = missing[rank::world]
        total = sum(len(self.stores[split].clips_of(each.shard)) for split, each in mine)
        done = 0

        def report(clips: int) -> None:
            nonlocal done
            done += clips
            tell(done, total)

        builders: dict[Split, Builder] = {}

        def one(number: int) -> None:
            if number < len(mine):
                split, each = mine[number]
                if split not in builders:
                    builders[split] = self._builder(split)
                builders[split].make(each, compute, report)

        try:
            for number in range(-(-len(missing) // world)):
                together(lambda number=number: one(number))
        finally:
            for builder in builders.values():
                builder.close()
        together(self._check_complete)
        if missing:
            made = sum(self.stores[split].bytes_of(each) for split, each in missing)
            log.info("kept %s in %s", format_bytes(made), format_duration(time.perf_counter() - started))

    def close(self) -> None:
        """Close the files that are read."""
        self.training.close()
        self.testing.close()
        if self.validation:
            self.validation.close()

    def _evaluation_reader(self, split: Split, *, is_pinned: bool) -> StoredReader:
        return StoredReader(self.stores[split], lambda key: (key.view, key.index), is_pinned=is_pinned)

    def _builder(self, split: Split) -> Builder:
        data, clips = self._data, self._clips
        if split != "train":
            reader: BatchReader = EvaluationReader(data, list(clips.test if split == "test" else clips.val))
            store = self.stores[split]
            return Builder(store, reader, key=lambda view, position: EvaluationKey(position, view), data=data)
        reader = TrainingReader(
            data,
            list(clips.train),
            positions=self._positions,
            mirrored=clips.mirrored or {},
            mirrored_heads=clips.mirrored_heads,
        )
        return Builder(
            self.train, reader, key=lambda view, position: TrainingKey(view, self._positions[position]), data=data
        )

    def _check_complete(self) -> None:
        absent = sum(store.absent() for store in self.stores.values())
        if absent:
            raise InputError(
                "features.folder",
                f"{absent} files of {self.train.root} are not there for one of the workers that made them",
                allowed="a folder that all nodes share",
                fix="name one, or run on one node",
            )
