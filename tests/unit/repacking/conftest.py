"""A small data set, and its packings."""

import pytest

from side4video.core.crew import Crew
from side4video.repacking.encode import Encoding
from side4video.repacking.repack import Packing, repack
from video_sets import data_spec, make_list


class Silent:
    def say(self, phase): ...
    def tell(self, done, total): ...


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return make_list(tmp_path_factory.mktemp("clips"), size=(48, 80))


@pytest.fixture(scope="session")
def crew():
    with Crew(2) as crew:
        yield crew


@pytest.fixture
def pack(crew):
    def work(document, folder, *, files=4, data=None, view=None, **encoding):
        spec = data_spec(document, **(data or {}))
        return repack(Packing(spec, folder, Encoding(**encoding), crew, view or Silent()), files=files)

    return work


@pytest.fixture
def packed():
    return lambda folder: {"kind": "packed", "root": str(folder)}
