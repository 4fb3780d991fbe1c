import shutil

import pytest

from checked_sets import make_clips
from side4video.core.crew import Crew


@pytest.fixture(scope="module")
def crew():
    with Crew(2) as crew:
        yield crew


@pytest.fixture(scope="module")
def _clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def folder(_clips, tmp_path):
    """Clips of a set, for one test to spoil."""
    return shutil.copytree(_clips, tmp_path / "clips")
