"""The time of a run is that of its record, wherever it is printed; without a record, that of the command."""

from types import SimpleNamespace

import pytest

from side4video.core.errors import Side4VideoError
from side4video.runs.run_result import run_seconds, stored_seconds


class Store:
    def __init__(self, run):
        self.run = run

    def get(self, run_id):
        if self.run is None:
            raise Side4VideoError("it does not answer")
        return self.run


@pytest.mark.parametrize(
    ("run", "seconds"),
    [
        (SimpleNamespace(start_ms=1_000, end_ms=45_500), 44.5),
        (SimpleNamespace(start_ms=1_000, end_ms=0), 64.0),  # it has no end yet
        (None, 64.0),
    ],
)
def test_the_time_of_a_run(run, seconds):
    assert stored_seconds(Store(run), "a", default=64.0) == seconds
    if run is not None and run.end_ms:
        assert run_seconds(run) == seconds
