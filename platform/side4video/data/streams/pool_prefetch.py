"""Reads videos from untrusted sources, each in a process that is killed after a time limit.

A decoder that hangs or crashes on a file affects that file only. The processes stay alive between batches.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.streams.batch import BrokenReport, ClipBatch
from side4video.data.streams.prefetch import BatchKeys
from side4video.data.streams.reader import EvaluationKey, EvaluationReader

Part = tuple[np.ndarray | None, list[int], list[BrokenReport]]
"""A clip's frames [W, T, C, H, W'], uint8 (None where it is broken), its views, and why it is broken."""


class PoolPrefetcher:
    """Reads clips in a worker pool, which its owner closes."""

    def __init__(self, reader: EvaluationReader, pool: WorkerPool, *, limit_seconds: float) -> None:
        """Nothing is read yet.

        The reader is sent with every clip, so it should know few clips; `limit_seconds` is for all the views of one
        clip.
        """
        self._reader, self._pool, self._limit_seconds = reader, pool, limit_seconds

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """The batches of these keys, one after the other."""
        for batch in keys:
            clips = [(index, tuple(group)) for index, group in groupby(batch, key=lambda key: key.index)]
            job = partial(read_clip, self._reader)
            work = self._pool.map_unordered(job, clips, limit_seconds=self._limit_seconds, chunk_size=1)
            found = {
                clip: lost_part(self._reader, clip[0], part) if isinstance(part, JobFailed) else part
                for clip, part in work
            }
            yield merge_parts([(clip[0], found[clip]) for clip in clips])

    def close(self) -> None:
        """Nothing is read between batches."""


def lost_part(reader: EvaluationReader, index: int, lost: JobFailed) -> Part:
    """A clip whose reading was given up."""
    return None, [], [BrokenReport(index, reader.clips[index].path, "", lost.reason)]


def read_clip(reader: EvaluationReader, clip: tuple[int, Sequence[EvaluationKey]]) -> Part:
    """The views of one clip, in a form that can be sent between processes."""
    batch = reader.read(clip[1])
    frames = batch.video_BTCHW.numpy() if len(batch) else None
    return frames, batch.views_B.tolist(), list(batch.broken)


def merge_parts(parts: Sequence[tuple[int, Part]]) -> ClipBatch:
    """The batch of these clips."""
    whole = [(index, frames, views) for index, (frames, views, _) in parts if frames is not None]
    nothing: Any = np.empty((0, 0, 3, 0, 0), np.uint8)
    indices = [index for index, _, views in whole for _ in views]
    return ClipBatch(
        video_BTCHW=torch.from_numpy(np.concatenate([frames for _, frames, _ in whole]) if whole else nothing),
        labels_B=torch.full((len(indices),), -1, dtype=torch.int64),
        indices_B=torch.tensor(indices, dtype=torch.int64),
        views_B=torch.tensor([view for _, _, views in whole for view in views], dtype=torch.int64),
        captions=((),) * len(indices),
        broken=tuple(report for _, (_, _, reports) in parts for report in reports),
    )
