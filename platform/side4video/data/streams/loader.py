"""Streams of batches that depend only on the spec, the epoch and the step.

The order of clips is a permutation drawn from (seed, epoch). The global batch of a step is a slice of it, and the share
of a rank is a slice of that. So the samples do not depend on the number of ranks and loader workers, and resuming
within an epoch is an offset.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from side4video.core.errors import InputError
from side4video.core.seeds import derive_seed
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip
from side4video.data.first_epoch import epoch_of_order
from side4video.data.spec import DataSpec
from side4video.data.streams.batch import BrokenReport, ClipBatch
from side4video.data.streams.frame_cache import FrameCache
from side4video.data.streams.prefetch import Prefetcher, PrefetcherFactory, make_prefetcher, thread_prefetcher
from side4video.data.streams.reader import BatchReader, EvaluationKey, EvaluationReader, TrainingKey, TrainingReader

_MAX_LISTED = 5


def class_chances(clips: Sequence[Clip], positions: Sequence[int]) -> NDArray[np.float64]:
    """The chance of each of the clips at `positions` in a draw in which all classes are equally likely.

    Raises:
        InputError: A clip has no label.
    """
    labels = [clips[position].label for position in positions]
    if None in labels:
        origin = clips[positions[labels.index(None)]].origin
        raise InputError(
            "data.class_sampling", f"balanced, and a clip has no class: {origin}", allowed="natural", fix="set it so"
        )
    counts = Counter(labels)
    return np.array([1 / (len(counts) * counts[label]) for label in labels])


def _check_flips(spec: DataSpec, mirrored: Mapping[int, int] | None) -> None:
    if mirrored is None and spec.augmentation.flip_probability > 0:
        raise InputError(
            "data.augmentation.flip_probability",
            f"{spec.augmentation.flip_probability:g}, where class names know left from right and a mirrored "
            "clip's class is not known",
            fix="set it to 0, or say under dataset.mirror which classes are each other's mirror image",
        )


class TrainingStream:
    """Shuffled, augmented micro-batches for one rank."""

    def __init__(
        self,
        spec: DataSpec,
        clips: Sequence[Clip],
        *,
        batch_size: int,
        micro_batches: int = 1,
        rank: int = 0,
        world: int = 1,
        mirrored: Mapping[int, int] | None,
        mirrored_heads: Sequence[Mapping[int, int]] = (),
        views: int | None = None,
        stored: BatchReader | None = None,
        prefetch: PrefetcherFactory = make_prefetcher,
    ) -> None:
        """Prepare the stream; nothing is decoded before `batches`.

        Args:
            spec: How clips become frames.
            clips: The training clips of the data set.
            batch_size: Videos of one optimizer step, over all ranks.
            micro_batches: Parts in which a rank takes its share of a step.
            rank: Which rank this is.
            world: Ranks in all.
            mirrored: The data set's label permutation under a flip; None where flips are not allowed.
            mirrored_heads: The same for each head.
            views: Versions of each clip that take turns, epoch by epoch; None draws a new one in each epoch.
            stored: Reads what is kept of the clips, in place of their videos.
            prefetch: Decides where videos are decoded.

        Raises:
            InputError: The batch has fewer videos than there are ranks and parts, is larger than the set, or flips
                are asked for where labels know left from right; or clips are mixed that have no partner or come
                from a finite pool.
        """
        self._positions = training_subset(clips, spec.train_fraction, spec.seed) if clips else []
        _check_mix(spec, is_pooled=views is not None or stored is not None)
        self._unit = 2 if spec.augmentation.mixes_clips else 1  # clips that are mixed stay together
        parts = world * micro_batches * self._unit
        _check_batch(batch_size, parts=parts, unit=self._unit, clips=len(self._positions))
        _check_flips(spec, mirrored)
        self._spec, self._batch_size, self._micro_batches = spec, batch_size, micro_batches
        units = batch_size // self._unit
        self._share = slice(*(self._unit * (edge * units // world) for edge in (rank, rank + 1)))
        self._views = views
        self._folder = _make_frame_folder(spec, world) if views is None and stored is None else None
        ahead = FrameCache(self._folder.name, spec.loader.epochs_per_decode) if self._folder else None
        reader = TrainingReader(
            spec,
            list(clips),
            positions=self._positions,
            mirrored=mirrored or {},
            mirrored_heads=mirrored_heads,
            ahead=ahead,
        )
        self._prefetcher = _prefetcher(reader, stored, spec, prefetch)
        self._clips = len(self._positions)
        self._chances = class_chances(clips, self._positions) if spec.class_sampling == "balanced" else None
        self.broken: dict[int, BrokenReport] = {}
        """Broken clips so far on this rank, by index in the list of clips."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; an incomplete last batch is dropped."""
        return len(self._positions) // self._batch_size

    @property
    def shares(self) -> float:
        """Global batch size divided by the share of this rank: the number of ranks, if all shares are equal."""
        return self._batch_size / (self._share.stop - self._share.start)

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[list[ClipBatch]]:
        """This rank's micro-batches of each optimizer step, from `first_step` to the epoch's end.

        `epoch` is the run's own; which epoch of the order it sees is said by `DataSpec.first_epoch`.

        Raises:
            InputError: A clip is broken, and the policy is to raise or the cap is passed.
            Side4VideoError: A decoding process hung or died.
        """
        epoch = epoch_of_order(self._spec.first_epoch, epoch)
        order = self._order(epoch)
        view = epoch % self._views if self._views else epoch
        keys: list[list[TrainingKey]] = []
        for step in range(first_step, self.steps_per_epoch):
            whole = order[step * self._batch_size : (step + 1) * self._batch_size]
            parts = np.array_split(whole[self._share].reshape(-1, self._unit), self._micro_batches)
            keys += [[TrainingKey(view, int(index)) for index in part.flat] for part in parts]
        micro_batches: list[ClipBatch] = []
        for batch in self._prefetcher.read(keys):
            record_broken(self.broken, batch, spec=self._spec, clips=self._clips)
            micro_batches.append(batch)
            if len(micro_batches) == self._micro_batches:
                yield micro_batches
                micro_batches = []

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The clips of an epoch, a function of seed and epoch alone."""
        random = np.random.default_rng(derive_seed(self._spec.seed, "order", epoch))
        if self._chances is None:
            return random.permutation(self._positions)
        return random.choice(self._positions, len(self._positions), p=self._chances)

    def close(self) -> None:
        """End the decoding processes or the thread."""
        self._prefetcher.close()
        if self._folder:
            self._folder.cleanup()


class EvaluationStream:
    """Every view of every clip once, for one rank.

    Batch `i` contains the same items for any number of ranks, and goes to rank `i % world`. So scores are bit-equal for
    any number of ranks, and no clip is padded or counted twice.
    """

    def __init__(
        self,
        spec: DataSpec,
        clips: Sequence[Clip],
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        stored: BatchReader | None = None,
        prefetch: PrefetcherFactory = make_prefetcher,
    ) -> None:
        """Prepare the stream; nothing is decoded before `batches`.

        Args:
            spec: How clips become frames; `views` says how often each is looked at.
            clips: The clips.
            batch_size: Temporal views of one batch; each gives `views.crops` rows.
            rank: Which rank this is.
            world: Ranks in all.
            stored: Reads what is kept of the clips, in place of their videos.
            prefetch: Decides where videos are decoded.

        Raises:
            InputError: The batch size is not positive, or there is no clip.
        """
        if batch_size < 1 or not clips:
            raise InputError(
                "evaluation", f"batch size {batch_size} and {len(clips)} clips", allowed="at least one of each"
            )
        items = [EvaluationKey(index, view) for index in range(len(clips)) for view in range(spec.views.clips)]
        batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
        self._keys = batches[rank::world]
        self._spec, self._clips = spec, len(clips)
        self._prefetcher = _prefetcher(EvaluationReader(spec, list(clips)), stored, spec, prefetch)
        self.broken: dict[int, BrokenReport] = {}
        """Broken clips so far on this rank, by index in the list of clips."""

    @property
    def steps(self) -> int:
        """Batches of this rank, at most: one whose clips are all broken is not given."""
        return len(self._keys)

    def batches(self) -> Iterator[ClipBatch]:
        """This rank's batches.

        Raises:
            InputError: A clip is broken, and the policy is to raise or the cap is passed.
            Side4VideoError: A decoding process hung or died.
        """
        for batch in self._prefetcher.read(self._keys):
            record_broken(self.broken, batch, spec=self._spec, clips=self._clips)
            if len(batch):
                yield batch

    def close(self) -> None:
        """End the decoding processes or the thread."""
        self._prefetcher.close()


def _prefetcher(
    reader: BatchReader, stored: BatchReader | None, spec: DataSpec, prefetch: PrefetcherFactory
) -> Prefetcher:
    """A prefetcher for videos; for cached rows a thread, because open files cannot be sent to other processes."""
    return prefetch(reader, spec.loader) if stored is None else thread_prefetcher(stored, spec.loader)


def _make_frame_folder(spec: DataSpec, world: int) -> TemporaryDirectory[str] | None:
    """A temporary folder for frames of later epochs; None if none are decoded."""
    if spec.loader.epochs_per_decode == 1:
        return None
    if world > 1:  # a clip's next epoch is mostly another worker's, perhaps on another machine
        raise InputError(
            "data.loader.epochs_per_decode",
            f"{spec.loader.epochs_per_decode} with {world} training workers, which do not share the frames that wait",
            fix="set it to 1",
        )
    return TemporaryDirectory(prefix="side4video-frames-", ignore_cleanup_errors=True)


def _check_batch(batch_size: int, *, parts: int, unit: int, clips: int) -> None:
    if batch_size < parts or batch_size % unit:
        what = "pairs of videos" if unit == 2 else "videos"
        raise InputError(
            "batch_size",
            f"{batch_size}, and the parts in which workers take it hold whole {what}: {parts} at least",
            allowed=f"{parts} or more" + (", even" if unit == 2 else ""),
        )
    if clips < batch_size:
        raise InputError(
            "batch_size",
            f"{batch_size} videos, and the training set has {clips}: no step is complete",
            fix=f"make it at most {clips // parts * parts}" if clips >= parts else "train on more clips",
        )


def _check_mix(spec: DataSpec, *, is_pooled: bool) -> None:
    if spec.augmentation.mixes_clips and is_pooled:
        raise InputError(
            "data.augmentation.mix",
            f"{spec.augmentation.mix.kind}, and the views of each clip are finitely many, while its partner is another "
            "one in each epoch",
            allowed="{kind: none}, or features: {kind: computed, views: endless}",
        )


def record_broken(broken: dict[int, BrokenReport], batch: ClipBatch, *, spec: DataSpec, clips: int) -> None:
    """Record the broken clips of a batch. Raises an error if there are more than the cap."""
    broken.update((report.index, report) for report in batch.broken)
    if not broken or spec.broken_clips.kind == "raise" or len(broken) <= spec.broken_clips.cap * clips:
        return
    listed = "; ".join(
        f"{report.origin or report.path}: {report.path}: {report.reason}"
        for report in list(broken.values())[:_MAX_LISTED]
    )
    more = f"; and {len(broken) - _MAX_LISTED} more" if len(broken) > _MAX_LISTED else ""
    raise InputError(
        "data.broken_clips",
        f"{len(broken)} of {clips} clips cannot be decoded ({listed}{more})",
        allowed=f"{spec.broken_clips.cap:.2%} of the clips (cap: {spec.broken_clips.cap:g})",
        fix="repair or remove them, or raise the cap",
    )
