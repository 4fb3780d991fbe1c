"""Reads batches ahead of use, in processes or in a thread.

Both give the same batches in the same order, pass errors of the reader to the consumer, have a time limit, and clean up
when closed.
"""

import functools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.main_guard import check_main_guard, script_without_guard
from side4video.data.spec import LoaderSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.reader import BatchReader

BatchKeys = Sequence[Sequence[Any]]
"""The keys of each batch, in order."""

_KILL_SECONDS = 10


class Prefetcher(Protocol):
    """Reads batches ahead."""

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """The batches of these keys in order; ends the reading that went before."""
        ...

    def close(self) -> None:
        """End all reading, and the processes or the thread."""
        ...


BatchProducer = Callable[[BatchKeys, threading.Event], Iterator[ClipBatch]]
"""Yields the batches of keys, and stops when the event is set."""

PrefetcherFactory = Callable[[BatchReader, LoaderSpec], Prefetcher]
"""Creates a prefetcher."""


def make_prefetcher(reader: BatchReader, spec: LoaderSpec) -> Prefetcher:
    """Processes, or a thread where `workers` is 0."""
    return ProcessPrefetcher(reader, spec) if spec.workers else thread_prefetcher(reader, spec)


def thread_prefetcher(reader: BatchReader, spec: LoaderSpec) -> "ThreadPrefetcher":
    """A prefetcher that reads in a thread of this process."""
    return ThreadPrefetcher(functools.partial(read_each, reader), spec)


class _Failure:
    """An error that is sent to the consumer."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def sent_error(error: BaseException) -> Exception:
    """The error as it is sent to the consumer, whom what ends a thread, such as `SystemExit`, must not end as well."""
    if isinstance(error, Exception):
        return error
    sent = Side4VideoError(f"what reads videos ended with {type(error).__name__}: {error}")
    sent.__cause__ = error
    return sent


class _Keys:
    """The batch sampler of a loader that is reused between epochs: iterates over the current keys."""

    def __init__(self) -> None:
        self.batches: BatchKeys = ()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _ReaderDataset(Dataset[Any]):
    """A reader as torch's `Dataset`: a batch of keys in, a batch out."""

    def __init__(self, reader: BatchReader) -> None:
        self.reader = reader

    def __getitem__(self, key: Any) -> Any:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Any]) -> ClipBatch | _Failure:
        try:
            return self.reader.read(keys)
        except InputError as error:  # torch would rebuild it from its message alone, and lose its parts
            return _Failure(error)
        except SystemExit as error:  # the process would end without a word
            return _Failure(sent_error(error))


def _identity(batch: Any) -> Any:
    return batch


class ProcessPrefetcher:
    """torch's DataLoader with processes that live until `close`.

    Started by `spawn`: a forked child of a process with decoder, Ray or CUDA threads can hang.
    """

    def __init__(self, reader: BatchReader, spec: LoaderSpec) -> None:
        check_main_guard()
        self._keys = _Keys()
        self._loader: DataLoader[Any] = DataLoader(
            _ReaderDataset(reader),
            batch_sampler=self._keys,  # type: ignore[arg-type]  # any iterable of lists will do
            num_workers=spec.workers,
            collate_fn=_identity,
            multiprocessing_context="spawn",
            persistent_workers=True,
            prefetch_factor=spec.prefetch,
            timeout=spec.timeout_seconds,
            generator=torch.Generator(),  # else each epoch draws from the process's generator
        )
        self._iterator: Any = None
        self._timeout_seconds = spec.timeout_seconds

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """See `Prefetcher`."""
        self._keys.batches = keys
        self._iterator = iterator = iter(self._loader)
        for number in range(len(keys)):
            if iterator is not self._iterator:
                raise RuntimeError("another reading of this stream has begun, or it was closed")
            try:
                batch = next(iterator)
            except (RuntimeError, OSError, EOFError) as error:
                self._explain(error, keys[number])
                raise
            if isinstance(batch, _Failure):
                raise batch.error
            yield batch

    def close(self) -> None:
        """See `Prefetcher`."""
        iterator, self._iterator = self._iterator, None
        self._loader._iterator = None
        if iterator is None:
            return
        # The loader's own way to end its processes, which otherwise waits for the garbage collector: it asks, and
        # after a few seconds sends a signal.
        iterator._shutdown_workers()
        for process in iterator._workers:
            if process.is_alive():  # stopped, or hanging where signals wait
                process.kill()
                process.join(_KILL_SECONDS)

    def _explain(self, error: Exception, keys: Sequence[Any]) -> None:
        """Raise a readable error for a timeout or a process that died."""
        message = str(error)
        if "timed out" in message:
            self.close()
            raise Side4VideoError(timeout_message(self._timeout_seconds, keys)) from error
        # A batch already on its way when its process dies cannot be taken over: that is an OSError or EOFError.
        is_dead = "exited unexpectedly" in message or "killed by signal" in message
        if is_dead or not isinstance(error, RuntimeError):
            ended = {process.exitcode for process in getattr(self._iterator, "_workers", ())}
            self.close()
            if 1 in ended and (unguarded := script_without_guard()):
                raise unguarded from error
            raise Side4VideoError(
                f"a decoding process died while these clips were read: {_key_positions(keys)}; out of memory? "
                "Try fewer data.loader.workers or a smaller batch"
            ) from error


class ThreadPrefetcher:
    """One background thread and a bounded queue; for small sets, where starting processes would take longer."""

    def __init__(self, produce: BatchProducer, spec: LoaderSpec) -> None:
        """Prepare it; nothing is read yet.

        `produce` gives the batches of keys in order; it runs in the thread, and what it raises is the consumer's.
        """
        self._produce = produce
        self._depth, self._timeout_seconds = spec.prefetch, spec.timeout_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """See `Prefetcher`."""
        self.close()
        ready: queue.Queue[ClipBatch | _Failure] = queue.Queue(self._depth)
        self._stop = stop = threading.Event()
        # A daemon: a decoder that hangs for ever must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._fill, args=(keys, ready, stop), name="side4video-decode", daemon=True
        )
        self._thread.start()
        try:
            for number in range(len(keys)):
                batch = self._next(ready, stop, keys[number])
                if isinstance(batch, _Failure):
                    raise batch.error
                yield batch
        finally:
            stop.set()

    def close(self) -> None:
        """See `Prefetcher`."""
        self._stop.set()
        thread, self._thread = self._thread, None
        # Ctrl-C may come before the thread has begun; it then ends by itself.
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(self._timeout_seconds)

    def _next(
        self, ready: "queue.Queue[ClipBatch | _Failure]", stop: threading.Event, keys: Sequence[Any]
    ) -> ClipBatch | _Failure:
        if stop.is_set():
            raise RuntimeError("another reading of this stream has begun, or it was closed")
        try:
            return ready.get(timeout=self._timeout_seconds)
        except queue.Empty:
            self._thread = None  # it hangs: nobody should wait for it
            raise Side4VideoError(timeout_message(self._timeout_seconds, keys)) from None

    def _fill(self, keys: BatchKeys, ready: "queue.Queue[ClipBatch | _Failure]", stop: threading.Event) -> None:
        try:
            for batch in self._produce(keys, stop):
                _put(batch, ready, stop)
                if stop.is_set():
                    return
        except BaseException as error:  # the thread would end in silence, and the consumer wait for its time limit
            _put(_Failure(sent_error(error)), ready, stop)


def read_each(reader: BatchReader, keys: BatchKeys, stop: threading.Event) -> Iterator[ClipBatch]:
    """A `BatchProducer` that reads here, one batch after the other."""
    for batch_keys in keys:
        if stop.is_set():
            return
        yield reader.read(batch_keys)


def _put(item: ClipBatch | _Failure, ready: "queue.Queue[ClipBatch | _Failure]", stop: threading.Event) -> None:
    """Put an item into the queue; give up when the event is set."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.05)
        except queue.Full:
            continue
        return


def timeout_message(seconds: float, keys: Sequence[Any]) -> str:
    """The error message if no batch arrives in time."""
    return (
        f"no batch within data.loader.timeout_seconds ({seconds:g} s), while these clips were read: "
        f"{_key_positions(keys)}; a decoder may hang on one of them (try data.decoder: pyav), or the limit is too short"
    )


def _key_positions(keys: Sequence[Any]) -> str:
    indices = sorted({key.index for key in keys})
    return "positions " + ", ".join(map(str, indices[:16])) + (" ..." if len(indices) > 16 else "")
