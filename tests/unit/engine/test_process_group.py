"""Work that all workers do together, and the telling of how far something long is."""

import pytest

from side4video.core.errors import InputError
from side4video.core.progress import MessageProgress
from side4video.engine import process_group
from side4video.engine.process_group import ProcessGroup
from side4video.engine.progress import StepProgress


def fail():
    raise InputError("here", "it is wrong")


def of_two(monkeypatch, other):
    """The first of two workers, the other of which has `other` to say."""
    monkeypatch.setattr(process_group.ProcessGroup, "gather", lambda self, value: [value, other])
    return ProcessGroup(0, 2)


def test_one_worker_does_it_and_fails_as_it_would():
    done = []
    ProcessGroup().run_on_all_workers(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(InputError, match="it is wrong"):
        ProcessGroup().run_on_all_workers(fail)


def test_anothers_mistake_is_raised_here(monkeypatch):
    done = []
    with pytest.raises(InputError, match="over there"):
        of_two(monkeypatch, InputError("over there", "no")).run_on_all_workers(lambda: done.append(1))
    assert done == [1]
    of_two(monkeypatch, None).run_on_all_workers(lambda: done.append(2))
    with pytest.raises(InputError, match="it is wrong"):
        of_two(monkeypatch, InputError("over there", "no")).run_on_all_workers(fail)


def test_other_errors_are_bugs_and_pass(monkeypatch):
    def bug():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        of_two(monkeypatch, None).run_on_all_workers(bug)


def test_a_phase_says_how_far_it_is_at_most_so_often():
    told = []
    progress = StepProgress(MessageProgress(told.append), every_seconds=3600)
    progress.report("loading")
    for step in range(1, 6):
        progress.report("keeping", step, 5)
    assert told == [{"phase": "loading", "done": 0, "total": 0}, {"phase": "keeping", "done": 5, "total": 5}]
    told.clear()
    progress = StepProgress(MessageProgress(told.append), every_seconds=0)
    for step in range(1, 6):
        progress.report("keeping", step, 5)
    assert [message["done"] for message in told] == [1, 2, 3, 4, 5]
