"""A process pool for small jobs: if a process dies or hangs, only the item that it was working on is lost.

Each process has its own pipe, gets a chunk of items at a time and sends each result at once. Memory does not depend on
the number of items, no process outlives the pool, and Ctrl-C reaches the parent only. `pebble` shares one pipe between
its processes: if an idle one is killed, its pool is broken.
"""

import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from side4video.core.errors import Side4VideoError
from side4video.core.main_guard import check_main_guard, script_without_guard

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK_SIZE = 16
"""Items that are sent to a process at a time."""
_POLL_SECONDS = 1.0
_KILL_SECONDS = 10


@dataclass(frozen=True)
class JobFailed:
    """Takes the place of a result."""

    reason: str


class _Failure:
    """An error that is sent to the parent; other libraries' errors are sent as text, for they may not be picklable."""

    def __init__(self, error: Exception) -> None:
        is_ours = isinstance(error, Side4VideoError)
        self.error = error if is_ours else RuntimeError("".join(traceback.format_exception(error)))


@dataclass(eq=False)
class _Worker:
    """A process and the items that it has not finished, the current one first."""

    process: BaseProcess
    pipe: "Connection[Any, Any]"
    items_left: deque[Any]
    since: float = 0.0
    """Start of the current item, in seconds of the monotonic clock."""


class WorkerPool:
    """A pool of spawned processes; use it as a context manager."""

    def __init__(self, processes: int = 0) -> None:
        """Processes start with the first items.

        `processes` is their number; 0 is one for each core that this process may use.
        """
        self.processes = processes or cores()
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self._workers)

    def map_unordered(
        self,
        job: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        limit_seconds: float = float("inf"),
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[tuple[Item, Result | JobFailed]]:
        """Yield each item with its result, in the order in which they are done.

        Args:
            job: A function of a module; items and results are pickled.
            items: Read a chunk at a time.
            limit_seconds: A process that takes longer for one item is killed and replaced.
            chunk_size: Items that are sent to a process at a time.

        Raises:
            Side4VideoError: The job raised it, or a process cannot start.
            RuntimeError: The job raised anything else.
        """
        remaining = iter(items)
        while len(self._workers) < self.processes:
            self._workers.append(_start_worker())
        try:
            for worker in self._workers:
                _send_chunk(worker, job, islice(remaining, chunk_size))
            while busy := [worker for worker in self._workers if worker.items_left]:
                ready = set(wait([worker.pipe for worker in busy], _POLL_SECONDS))
                for worker in busy:
                    if worker.pipe in ready:
                        yield self._receive(worker, job)
                    elif time.monotonic() - worker.since > limit_seconds:
                        worker.process.kill()
                        yield self._replace(
                            worker, job, f"no answer within {limit_seconds:g} s; a decoder may hang on it"
                        )
                    if not worker.items_left:
                        _send_chunk(worker, job, islice(remaining, chunk_size))
        finally:  # results of an abandoned iteration must not appear in the next one
            self._end([worker for worker in self._workers if worker.items_left])

    def _end(self, workers: list[_Worker]) -> None:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join(_KILL_SECONDS)
            worker.pipe.close()
        self._workers = [worker for worker in self._workers if worker not in workers]

    def _receive(self, worker: _Worker, job: Callable[..., Any]) -> tuple[Any, Any]:
        try:
            result = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_KILL_SECONDS)
            return self._replace(worker, job, f"the process that read it died (exit code {worker.process.exitcode})")
        worker.since = time.monotonic()
        if isinstance(result, _Failure):
            raise result.error
        return worker.items_left.popleft(), result

    def _replace(self, worker: _Worker, job: Callable[..., Any], reason: str) -> tuple[Any, JobFailed]:
        """Start another process, which continues with the items after the lost one."""
        worker.process.join(_KILL_SECONDS)
        worker.pipe.close()
        item = worker.items_left.popleft()
        new = _start_worker()
        worker.process, worker.pipe = new.process, new.pipe
        _send_chunk(worker, job, list(worker.items_left))
        return item, JobFailed(reason)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> _Worker:
    check_main_guard()
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), name="side4video-worker", daemon=True)
    with _interrupts_blocked():
        process.start()
    theirs.close()
    try:
        ours.recv()
    except (EOFError, OSError):
        process.join(_KILL_SECONDS)
        if process.exitcode == 1 and (unguarded := script_without_guard()):
            raise unguarded from None
        raise Side4VideoError("a process could not start; out of memory?") from None
    return _Worker(process, ours, deque())


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that start in this block inherit the blocked SIGINT; this process receives it after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise the first process starts it, and that unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_chunk(worker: _Worker, job: Callable[..., Any], items: Iterable[Any]) -> None:
    worker.items_left = deque(items)
    worker.since = time.monotonic()
    if worker.items_left:
        with suppress(BrokenPipeError):  # it has died: the next `recv` fails
            worker.pipe.send((job, list(worker.items_left)))


def _serve(pipe: "Connection[Any, Any]") -> None:
    """The main function of a process: receive items, send results, until the parent closes the pipe."""
    try:
        pipe.send("ready")
        while True:
            job, items = pipe.recv()
            for item in items:
                pipe.send(_done(job, item))
    except (EOFError, OSError):
        return


def _done(job: Callable[[Any], Any], item: Any) -> Any:
    try:
        return job(item)
    except Exception as error:
        return _Failure(error)
