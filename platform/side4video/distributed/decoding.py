"""Decodes videos on other nodes with Ray Data, in the order of the stream.

The keys of each batch are chosen here and the tasks only decode, so the batches equal those of the local loader.
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
from side4video.distributed.plugin_files import PluginFiles
from side4video.spec.cluster import DecodeOnNodesSpec

_READERS: dict[str, BatchReader] = {}
"""The reader of a decoding process, by Ray object id. Processes outlive epochs."""


def ray_data_prefetcher(
    reader: BatchReader, loader: LoaderSpec, *, spec: DecodeOnNodesSpec, plugins: PluginFiles
) -> ThreadPrefetcher:
    """A prefetcher that decodes batches with Ray Data; Ray ends idle decoding processes.

    The reader is put into the object store; `loader` has the number of batches to prefetch, and the time limit of one.
    """
    return ThreadPrefetcher(functools.partial(_decoded, ray.put(reader), plugins, spec), loader)


def _decoded(
    reader: Any, plugins: PluginFiles, spec: DecodeOnNodesSpec, keys: BatchKeys, stop: threading.Event
) -> Iterator[ClipBatch]:
    """The batches in order. An error of the reader is raised as it is, Ray's as `Side4VideoError`."""
    rows = _stream(reader, plugins, spec, keys)
    while not stop.is_set():
        try:
            row = next(rows, None)
        except Exception as error:
            raise Side4VideoError(f"decoding on other nodes failed: {_first_line(error)}") from error
        if row is None:
            return
        batch = pickle.loads(row["batch"])  # noqa: S301 - our own tasks' answer, of this cluster
        if isinstance(batch, BaseException):
            raise batch
        yield batch


def _stream(reader: Any, plugins: PluginFiles, spec: DecodeOnNodesSpec, keys: BatchKeys) -> Iterator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ray.data.ExecutionResources(cpu=spec.processes * spec.cpus)
    context.enable_progress_bars = False
    rows = [{"keys": pickle.dumps(list(each))} for each in keys]
    resources = {spec.resource: 0.001} if spec.resource else None
    # One block per batch: a task takes one block, and blocks wait in memory.
    listed = ray.data.from_items(rows, override_num_blocks=len(rows))
    fn: Any = _decode  # Ray's annotation does not include `fn_args`
    decoded = listed.map(
        fn, fn_args=(reader, plugins), num_cpus=spec.cpus, resources=resources, concurrency=spec.processes
    )
    yield from decoded.iter_rows()


def _decode(row: dict[str, Any], reader: Any, plugins: PluginFiles) -> dict[str, bytes]:
    """A Ray task: the batch of these keys, or the error as a value, because Ray Data would retry without end."""
    keys = pickle.loads(row["keys"])  # noqa: S301 - our own driver's question
    try:
        batch: ClipBatch | Exception = _cached_reader(reader, plugins).read(keys)
    except InputError as error:
        batch = error
    except Exception as error:  # it may not be picklable, so send its text
        batch = RuntimeError("".join(traceback.format_exception(error)))
    return {"batch": pickle.dumps(batch, protocol=5)}


def _cached_reader(reader: Any, plugins: PluginFiles) -> BatchReader:
    """The reader, cached: it lists all clips and can be large, so each process unpickles it once."""
    name = reader.hex()
    if name not in _READERS:
        import torch

        torch.set_num_threads(1)
        _READERS.clear()
        plugins.allow_here()  # the reader may hold transforms of theirs
        _READERS[name] = ray.get(reader)
    return _READERS[name]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
