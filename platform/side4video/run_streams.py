"""The batches of a run: training, validation and test clips, decoded or read from the feature cache."""

import functools
import operator
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from side4video.core.errors import InputError
from side4video.data.clip import Clip, Split
from side4video.data.features.cache import Clips, FeatureCache
from side4video.data.features.reader import StoredReader
from side4video.data.features.store import MissingShard
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from side4video.data.streams.prefetch import PrefetcherFactory
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.progress import TrainingProgress
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import empty_entries, entry_layouts, frozen_features, request_of, to_entries
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.check import check_early_stopping, check_sentences
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class CachedFeatures:
    """The feature cache of a pack, and the tower that computes missing features."""

    cache: FeatureCache
    tower: FrozenTower
    reads: FeatureRequest

    @classmethod
    def open(cls, spec: Experiment, tower: FrozenTower, pack: Pack, clips: Clips) -> "CachedFeatures | None":
        """The cache, or None if the spec has none.

        Raises:
            InputError: The pack has several towers.
        """
        if spec.features.kind != "cached":
            return None
        if len(pack.passes) > 1:
            raise InputError(
                "features.kind",
                f"cached, and the experiments have {len(pack.passes)} backbones, each with a cache of its own",
                allowed="{kind: computed}, or one backbone",
                fix="run the backbones one by one",
            )
        reads = functools.reduce(operator.or_, (student.reads for student in pack.students))
        tower_identity = {
            # The fingerprint stands for the weights, not their path; the others change no feature.
            "backbone": spec.backbone.identifying_values(exclude={"weights", "chunk_frames", "tokenizer"}),
            "weights": tower.fingerprint(),
            "shape": tower.shape.identity(),
            "every": reads.every,
        }
        layouts = entry_layouts(
            tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8
        )
        is_cuda = tower.device.type == "cuda"
        cache = FeatureCache(spec.features, spec.data, clips, tower=tower_identity, layouts=layouts, is_pinned=is_cuda)
        return cls(cache, tower, reads)

    def blank(self, spec: Experiment, process: ProcessGroup) -> dict[str, torch.Tensor]:
        """Uninitialised features of one micro-batch, for the dry run."""
        return empty_entries(self.cache.layouts, spec.clips_per_part, process.device)

    def make(self, process: ProcessGroup, progress: TrainingProgress) -> None:
        """Compute missing features on all workers, then release the tower's weights."""
        missing: list[tuple[Split, MissingShard]] = []

        def find_missing() -> None:
            if process.is_first:
                missing.extend(self.cache.missing())
                self.cache.check_disk_space(missing)

        def compute(video: torch.Tensor, entries: Collection[str]) -> dict[str, torch.Tensor]:
            features = frozen_features(self.tower, video.to(process.device), request_of(entries, self.reads.every))
            return to_entries(features)

        progress.report("checking the feature cache")
        process.run_on_all_workers(find_missing)
        self.cache.make(
            process.gather(missing)[0],
            compute,
            rank=process.rank,
            world=process.world,
            together=process.run_on_all_workers,
            tell=lambda done, clips: progress.report("caching features, clips", done, clips),
        )
        self.tower.release_weights()
        if process.device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class EvaluatedSplit:
    """The clips of a split that is evaluated."""

    stream: EvaluationStream
    videos: int
    """Number of its clips."""


class RunStreams:
    """The streams of all splits, and the feature cache; all are closed at the end of the block."""

    def __init__(
        self,
        spec: Experiment,
        process: ProcessGroup,
        prefetch: PrefetcherFactory,
        tower: FrozenTower,
        pack: Pack,
        *,
        evaluated_clips: int | None = None,
    ) -> None:
        """List the clips and open the streams. Of splits that are evaluated, at most `evaluated_clips` are used.

        Raises:
            InputError: If the lists are wrong, or early stopping has no validation split.
        """
        dataset, features = spec.data.listed, spec.features
        check_early_stopping(spec)
        clips = Clips(
            dataset.clips("train"),
            dataset.clips("test")[:evaluated_clips],
            dataset.flipped_classes(),
            spec.data.fingerprint() if features.kind == "cached" else "",
            dataset.clips("val")[:evaluated_clips] if "val" in dataset.splits() else (),
            dataset.flipped_heads() or (),
        )
        check_sentences(spec, {"train": clips.train, "val": clips.val, "test": clips.test})
        self.cached = CachedFeatures.open(spec, tower, pack, clips)
        cache = self.cached.cache if self.cached else None
        common: dict[str, Any] = {"rank": process.rank, "world": process.world, "prefetch": prefetch}
        self.training = TrainingStream(
            spec.data,
            clips.train,
            batch_size=spec.optimization.batch_size,
            micro_batches=spec.optimization.accumulation,
            mirrored=clips.mirrored,
            mirrored_heads=clips.mirrored_heads,
            views=features.pool,
            stored=cache.training if cache else None,
            **common,
        )

        def evaluated(some: Sequence[Clip], stored: StoredReader | None) -> EvaluatedSplit:
            stream = EvaluationStream(spec.data, some, batch_size=spec.evaluation.batch_size, stored=stored, **common)
            return EvaluatedSplit(stream, len(some))

        self.testing = evaluated(clips.test, cache.testing if cache else None)
        self.validation = evaluated(clips.val, cache.validation if cache else None) if clips.val else None
        """None if the data set has no validation split."""

    def broken(self) -> Iterator[Any]:
        """Reports of the clips that this worker could not read."""
        for stream in self._streams():
            yield from stream.broken.values()

    def _streams(self) -> list[TrainingStream | EvaluationStream]:
        evaluated = [self.testing.stream, *([self.validation.stream] if self.validation else [])]
        return [self.training, *evaluated]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams():
            stream.close()
        if self.cached:
            self.cached.cache.close()
