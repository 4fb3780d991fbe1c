"""Decoding on other nodes: Ray Data reads the batches of a stream wherever the cluster has cores, in the same order.

What is read is decided here, batch by batch; the tasks only decode. So the batches are those of any other loader.
"""

import functools
import pickle
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import ray

from side4video.core.errors import InputError, Side4VideoError
from side4video.data.spec import LoaderSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.prefetch import BatchKeys, ThreadPrefetcher
from side4video.data.streams.reader import BatchReader
from side4video.spec.cluster import DecodeOnNodesSpec

_READERS: dict[str, BatchReader] = {}
"""In a decoding process: the readers that it knows, by the object that they came in. Processes outlive epochs."""


def ray_data_prefetcher(reader: BatchReader, loader: LoaderSpec, *, spec: DecodeOnNodesSpec) -> ThreadPrefetcher:
    """Streams batches through Ray Data; decoding processes that nobody needs are Ray's to end.

    Args:
        reader: Turns keys into a batch; it is put where all nodes can take it.
        loader: How many batches wait, and how long one may take.
        spec: Where is decoded, and by how many.
    """
    return ThreadPrefetcher(functools.partial(_decoded, ray.put(reader), spec), loader)


def _decoded(reader: Any, spec: DecodeOnNodesSpec, keys: BatchKeys, stop: threading.Event) -> Iterator[ClipBatch]:
    """The tasks' answers in order; an error of a reader is raised as it was, Ray's own as a sentence."""
    rows = _stream(reader, spec, keys)
    while not stop.is_set():
        try:
            row = next(rows, None)
        except Exception as error:
            raise Side4VideoError(f"decoding on other nodes failed: {_first_line(error)}") from error
        if row is None:
            return
        answer = pickle.loads(row["batch"])  # noqa: S301 - our own tasks' answer, of this cluster
        if isinstance(answer, BaseException):
            raise answer
        yield answer


def _stream(reader: Any, spec: DecodeOnNodesSpec, keys: BatchKeys) -> Iterator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ray.data.ExecutionResources(cpu=spec.processes * spec.cpus)
    context.enable_progress_bars = False
    rows = [{"keys": pickle.dumps(list(each))} for each in keys]
    resources = {spec.resource: 0.001} if spec.resource else None
    # One block a batch: a block is what a task takes, and what waits in memory.
    listed = ray.data.from_items(rows, override_num_blocks=len(rows))
    fn: Any = _decode  # with `fn_args` it takes more than the row, which its annotation does not know
    decoded = listed.map(fn, fn_args=(reader,), num_cpus=spec.cpus, resources=resources, concurrency=spec.processes)
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
