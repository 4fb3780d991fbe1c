"""Reads videos from elsewhere, each for a limited time, without making one or two videos wait for new processes.

A process needs seconds to import torch. So a few videos are read in a thread of this process. A thread cannot be ended:
after the first video that takes too long, all others are read in processes that can.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any

from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.spec import LoaderSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.pool_prefetch import Part, lost_part, merge_parts, read_clip
from side4video.data.streams.prefetch import BatchKeys, PrefetcherFactory, sent_error
from side4video.data.streams.reader import EvaluationKey

START_SECONDS = 30.0
"""Added to the limit of a video that is read in a process, which may have to start first."""
Group = tuple[int, tuple[EvaluationKey, ...]]
"""A clip's index and its views."""


def timed_prefetcher(limit_seconds: float) -> PrefetcherFactory:
    """Prefetchers with this limit for all the views of one video."""
    return partial(TimedPrefetcher, limit_seconds=limit_seconds)


class TimedPrefetcher:
    """Reads clips in a thread or, with `loader.workers`, in processes; a clip that takes too long is a broken one."""

    def __init__(self, reader: Any, spec: LoaderSpec, *, limit_seconds: float) -> None:
        """Nothing is read yet; the reader is sent to processes, so it should know few clips."""
        self._reader, self._limit_seconds = reader, limit_seconds
        self._pool = WorkerPool(spec.workers) if spec.workers else None

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """The batches of these keys, one after the other; the next one is read while one is used."""
        with ThreadPoolExecutor(1, thread_name_prefix="side4video-ahead") as ahead:
            reading: Future[ClipBatch] | None = None
            for batch in keys:
                following = ahead.submit(self._read_batch, batch)
                if reading is not None:
                    yield reading.result()
                reading = following
            if reading is not None:
                yield reading.result()

    def _read_batch(self, batch: Sequence[EvaluationKey]) -> ClipBatch:
        groups = [(index, tuple(group)) for index, group in groupby(batch, key=lambda key: key.index)]
        found: dict[Group, Part] = {}
        while self._pool is None and len(found) < len(groups):
            group = groups[len(found)]
            part = run_in_thread(partial(read_clip, self._reader, group), limit_seconds=self._limit_seconds)
            found[group] = self._part_of(group, part)
            if isinstance(part, JobFailed):
                self._pool = WorkerPool(1)
        found |= self._read_in_processes(groups[len(found) :])
        return merge_parts([(group[0], found[group]) for group in groups])

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.__exit__()

    def _read_in_processes(self, groups: Sequence[Group]) -> dict[Group, Part]:
        if self._pool is None or not groups:
            return {}
        limit_seconds = self._limit_seconds + START_SECONDS
        work = self._pool.map_unordered(
            partial(read_clip, self._reader), groups, limit_seconds=limit_seconds, chunk_size=1
        )
        return {group: self._part_of(group, part) for group, part in work}

    def _part_of(self, group: Group, part: Part | JobFailed) -> Part:
        return lost_part(self._reader, group[0], part) if isinstance(part, JobFailed) else part


def run_in_thread(job: Callable[[], Part], *, limit_seconds: float) -> Part | JobFailed:
    """The result of a job, or that it took too long; it then goes on until this process ends.

    Raises:
        Exception: What the job raises.
    """
    answers: queue.SimpleQueue[tuple[Part | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((job(), None))
        except BaseException as error:  # the thread would end in silence, and the video count as one that hangs
            answers.put((None, sent_error(error)))

    threading.Thread(target=run, name="side4video-decode", daemon=True).start()
    try:
        part, error = answers.get(timeout=limit_seconds)
    except queue.Empty:
        return JobFailed(f"no answer within {limit_seconds:g} s; a decoder may hang on it")
    if error is not None:
        raise error
    assert part is not None  # noqa: S101 - one of both is there
    return part
