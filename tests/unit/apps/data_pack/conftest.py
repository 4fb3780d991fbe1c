"""A small data set, and its packings."""

import pytest

from side4video.apps.data_pack.encode import Encoding
from side4video.apps.data_pack.pack import Packing, repack
from side4video.core.progress import SILENT
from side4video.core.worker_pool import WorkerPool
from video_sets import data_spec, make_list


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return make_list(tmp_path_factory.mktemp("clips"), size=(48, 80))


@pytest.fixture(scope="session")
def pool():
    with WorkerPool(2) as pool:
        yield pool


@pytest.fixture
def pack(pool):
    def work(document, folder, *, files=4, data=None, progress=SILENT, **encoding):
        spec = data_spec(document, **(data or {}))
        return repack(Packing(spec, folder, Encoding(**encoding), pool, progress), files=files)

    return work


@pytest.fixture
def packed():
    return lambda folder: {"kind": "packed", "root": str(folder)}
