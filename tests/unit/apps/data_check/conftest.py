import shutil

import pytest

from checked_sets import make_clips
from side4video.core.worker_pool import WorkerPool


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def _clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def folder(_clips, tmp_path):
    """Clips of a set, for one test to spoil."""
    return shutil.copytree(_clips, tmp_path / "clips")
