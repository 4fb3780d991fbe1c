"""Builds the missing files of a split: decodes clips, runs the tower, writes rows.

A forward pass always has the same clips, whichever worker runs it. So files do not depend on the number of workers or
on existing files. Cached frames are read, not decoded.

Legend: R rows of a pass that could be decoded, T frames, C channels, H, W pixels.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from side4video.core.errors import InputError
from side4video.data.features.files import RowsWriter
from side4video.data.features.reader import MORE_LABELS, StoredReader
from side4video.data.features.spec import PASS_CLIPS
from side4video.data.features.store import ROWS, VIDEO, FeatureStore, MissingShard
from side4video.data.spec import DataSpec
from side4video.data.streams.batch import BrokenReport, ClipBatch
from side4video.data.streams.loader import record_broken
from side4video.data.streams.prefetch import Prefetcher, make_prefetcher
from side4video.data.streams.reader import BatchReader

Compute = Callable[[Tensor, Collection[str]], Mapping[str, Tensor]]
"""Maps frames [R, T, C, H, W] (uint8, CPU) and names of entries to tensors [R, ...] on the CPU."""
ReportClips = Callable[[int], None]
"""Called after each pass with its number of clips."""


@dataclass(frozen=True)
class _Clip:
    """The rows of one clip."""

    position: int
    batch: ClipBatch
    is_present: bool


class Builder:
    """Builds shards of one split."""

    def __init__(
        self, store: FeatureStore, reader: BatchReader, *, key: Callable[[int, int], Any], data: DataSpec
    ) -> None:
        """Nothing is decoded before the first shard.

        Args:
            store: What is made.
            reader: Reads videos; under `skip` it may leave a clip out.
            key: The reader's key of a view and a position.
            data: Where it runs, and what a broken clip means.
        """
        self.store, self._key, self._data = store, key, data
        self._prefetcher: Prefetcher = make_prefetcher(reader, data.loader)
        self._stored = StoredReader(store, lambda place: place, only_frames=True)
        self._broken: dict[int, BrokenReport] = {}

    def make(self, missing: MissingShard, compute: Compute, report: ReportClips) -> None:
        """Write the missing files of a shard. If another run builds the same shard, wait for it.

        Raises:
            InputError: A clip is broken and the policy is to raise, more are than may be, or the disk takes no more.
        """
        store, view, shard = self.store, missing.view, missing.shard
        lock = store.path(view, shard, ROWS).with_name(f".shard-{shard:05d}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                entries = store.lacks(view, shard)
                for left in lock.parent.glob(f".*-{shard:05d}.safetensors.*.partial"):
                    left.unlink()  # of a run that was killed: whoever writes them holds the lock
                if entries:
                    self._write(view, shard, entries, compute, report)
        except OSError as error:
            raise InputError(
                "features.folder", f"{lock.parent} cannot be written: {error}", fix="make room, or name another folder"
            ) from error

    def close(self) -> None:
        """End the decoding processes or the thread."""
        self._prefetcher.close()
        self._stored.close()

    def _write(self, view: int, shard: int, entries: Sequence[str], compute: Compute, report: ReportClips) -> None:
        store = self.store
        rows = len(store.clips_of(shard)) * store.copies
        about = {entry: store.about(view, shard, entry) for entry in entries}
        writers = {
            entry: RowsWriter(store.path(view, shard, entry), store.layouts[entry], rows=rows, about=about[entry])
            for entry in entries
            if entry != ROWS
        }
        clips: list[_Clip] = []
        try:
            for some in self._passes(view, shard, is_decoded=bool({ROWS, VIDEO} & set(entries))):
                self._write_pass(some, writers, compute)
                clips += [_without_frames(clip) for clip in some]
                report(len(some))
            if ROWS in about:
                self._write_numbers(view, shard, clips)
            for writer in writers.values():
                writer.finish()
        finally:
            for writer in writers.values():
                writer.discard()

    def _passes(self, view: int, shard: int, *, is_decoded: bool) -> Iterator[list[_Clip]]:
        positions = self.store.clips_of(shard)
        # One clip a batch: so each report of a broken clip stands with the clip that met it.
        if is_decoded:
            batches = self._prefetcher.read([[self._key(view, position)] for position in positions])
        else:
            batches = (self._stored.read([(view, position)]) for position in positions)
        some: list[_Clip] = []
        for position, batch in zip(positions, batches, strict=True):
            record_broken(self._broken, batch, spec=self._data, clips=self.store.clips)
            some.append(_Clip(position, batch, is_present=len(batch) > 0))
            if len(some) == PASS_CLIPS or position == positions[-1]:
                yield some
                some = []

    def _write_pass(self, clips: Sequence[_Clip], writers: Mapping[str, RowsWriter], compute: Compute) -> None:
        present = [clip for clip in clips if clip.is_present]
        if not present or not writers:
            return
        store = self.store
        video_RTCHW = torch.cat([clip.batch.video_BTCHW for clip in present])
        computed = [entry for entry in writers if entry != VIDEO]
        tensors = {VIDEO: video_RTCHW, **(compute(video_RTCHW, computed) if computed else {})}
        first = store.clips_of(clips[0].position // store.shard_clips).start
        for entry, writer in writers.items():
            for number, clip in enumerate(present):
                rows = slice(number * store.copies, (number + 1) * store.copies)
                here = {name: tensors[name][rows] for name in store.layouts[entry]}
                writer.write((clip.position - first) * store.copies, here)

    def _write_numbers(self, view: int, shard: int, clips: Sequence[_Clip]) -> None:
        store = self.store
        first, copies = store.clips_of(shard).start, store.copies
        about = store.about(view, shard, ROWS) | {
            "captions": [list(each) for clip in clips for each in clip.batch.captions or [()] * copies],
            "broken": {
                str(clip.position - first): [asdict(report) for report in clip.batch.broken]
                for clip in clips
                if clip.batch.broken
            },
        }
        for name in MORE_LABELS:
            if any(getattr(clip.batch, name) is not None for clip in clips):
                own = [getattr(clip.batch, name) for clip in clips]
                about[name] = [
                    row for each in own for row in (each.tolist() if each is not None and len(each) else [[]] * copies)
                ]
        layout = store.layouts[ROWS]
        writer = RowsWriter(store.path(view, shard, ROWS), layout, rows=len(clips) * copies, about=about)
        try:
            for clip in clips:
                batch = clip.batch
                if clip.is_present:
                    numbers = {"labels": batch.labels_B, "indices": batch.indices_B, "views": batch.views_B}
                    numbers["present"] = torch.ones(copies, dtype=torch.bool)
                    writer.write((clip.position - first) * copies, numbers)
            writer.finish()
        finally:
            writer.discard()


def _without_frames(clip: _Clip) -> _Clip:
    batch = clip.batch
    numbers = ClipBatch(
        batch.video_BTCHW[:0].clone(),
        batch.labels_B,
        batch.indices_B,
        batch.views_B,
        batch.captions,
        batch.broken,
        all_labels_BL=batch.all_labels_BL,
        head_labels_BS=batch.head_labels_BS,
    )
    return _Clip(clip.position, numbers, clip.is_present)
