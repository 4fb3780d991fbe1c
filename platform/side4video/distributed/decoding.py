"""Decoding on other nodes: Ray Data reads the batches of a stream wherever the cluster has cores, in the same order.

What is read is decided here, batch by batch; the tasks only decode. So the batches are those of any other loader.
"""

import pickle
import queue
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from side4video.core.errors import InputError, Side4VideoError
from side4video.data.batch import ClipBatch
from side4video.data.prefetch import BatchKeys, too_long
from side4video.data.reader import BatchReader
from side4video.data.spec import LoaderSpec
from side4video.spec.cluster import DecodeOnNodesSpec

_CLOSE_SECONDS = 30
_READERS: dict[str, BatchReader] = {}
"""In a decoding process: the readers that it knows, by the object that they came in. Processes outlive epochs."""


class RayDataPrefetcher:
    """Streams batches through Ray Data; see `data.prefetch.Prefetcher`."""

    def __init__(self, reader: BatchReader, loader: LoaderSpec, spec: DecodeOnNodesSpec) -> None:
        """Put the reader where all nodes can take it; nothing is read yet.

        Args:
            reader: Turns keys into a batch.
            loader: How many batches wait, and how long one may take.
            spec: Where is decoded, and by how many.
        """
        self._loader, self._spec = loader, spec
        self._reader = ray.put(reader)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self, keys: BatchKeys) -> Iterator[ClipBatch]:
        """The batches of these keys in order; ends the reading that went before."""
        self.close()
        ready: queue.Queue[Any] = queue.Queue(self._loader.prefetch)
        self._stop = stop = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(keys, ready, stop), name="side4video-ray-data", daemon=True
        )
        self._thread.start()
        try:
            for number in range(len(keys)):
                if stop.is_set():
                    raise RuntimeError("another reading of this stream has begun, or it was closed")
                batch = self._next(ready, keys[number])
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stop.set()

    def close(self) -> None:
        """End the reading; decoding processes that nobody needs are Ray's to end."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)

    def _next(self, ready: "queue.Queue[Any]", keys: Sequence[Any]) -> Any:
        try:
            return ready.get(timeout=self._loader.timeout_seconds)
        except queue.Empty:
            self._thread = None  # it hangs: nobody should wait for it
            raise Side4VideoError(too_long(self._loader.timeout_seconds, keys)) from None

    def _fill(self, keys: BatchKeys, ready: "queue.Queue[Any]", stop: threading.Event) -> None:
        try:
            for row in self._stream(keys):
                item = pickle.loads(row["batch"])  # noqa: S301 - our own tasks' answer, of this cluster
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.05)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
        except Exception as error:
            lost = Side4VideoError(f"decoding on other nodes failed: {_first_line(error)}")
            lost.__cause__ = error
            ready.put(lost)

    def _stream(self, keys: BatchKeys) -> Iterator[dict[str, Any]]:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.execution_options.resource_limits = ray.data.ExecutionResources(
            cpu=self._spec.processes * self._spec.cpus
        )
        context.enable_progress_bars = False
        rows = [{"keys": pickle.dumps(list(each))} for each in keys]
        resources = {self._spec.resource: 0.001} if self._spec.resource else None
        # One block a batch: a block is what a task takes, and what waits in memory.
        listed = ray.data.from_items(rows, override_num_blocks=len(rows))
        fn: Any = _decode  # with `fn_args` it takes more than the row, which its annotation does not know
        decoded = listed.map(
            fn,
            fn_args=(self._reader,),
            num_cpus=self._spec.cpus,
            resources=resources,
            concurrency=self._spec.processes,
        )
        yield from decoded.iter_rows()


def _decode(row: dict[str, Any], reader: Any) -> dict[str, bytes]:
    """A task: the batch of these keys, or the error that stops it; Ray Data would try it again without end."""
    keys = pickle.loads(row["keys"])  # noqa: S301 - our own driver's question
    try:
        answer: ClipBatch | Exception = _known(reader).read(keys)
    except InputError as error:
        answer = error
    except Exception as error:  # one that cannot travel goes as text
        answer = RuntimeError("".join(traceback.format_exception(error)))
    return {"batch": pickle.dumps(answer, protocol=5)}


def _known(reader: Any) -> BatchReader:
    """The reader; of all clips of a large set it is large, so each process unpacks it once."""
    name = reader.hex()
    if name not in _READERS:
        import torch

        torch.set_num_threads(1)
        _READERS.clear()
        _READERS[name] = ray.get(reader)
    return _READERS[name]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
