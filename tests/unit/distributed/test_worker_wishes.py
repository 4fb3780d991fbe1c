"""What a Ray Train worker wishes between two steps: of SIGTERM, of its node, of the driver."""

import time
from types import SimpleNamespace

import pytest

from side4video.core import leaving
from side4video.distributed import worker
from side4video.distributed.worker import Surveyor
from side4video.engine.pauses import Pauses, Wish


class Board:
    """The driver's board, without Ray."""

    def __init__(self):
        self.leaves = False
        self.is_leaving = SimpleNamespace(remote=lambda: self.leaves)


@pytest.fixture
def board(monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(worker, "ray", SimpleNamespace(get=lambda answer, timeout: answer))
    monkeypatch.setattr(worker, "node_is_taken", lambda: False)
    leaving._asked.clear()
    yield Board()
    leaving._asked.clear()


def wish_in_time(surveyor, expected):
    deadline = time.monotonic() + 5
    while (wish := surveyor.wish()) is not expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return wish


def test_nothing_at_first(board):
    with Surveyor(board, is_first=True).watching():
        pass
    assert Surveyor(board, is_first=True).wish() is Wish.NOTHING


def test_the_driver_has_the_run_leave(board):
    surveyor = Surveyor(board, is_first=True)
    with surveyor.watching():
        board.leaves = True
        assert wish_in_time(surveyor, Wish.LEAVE) is Wish.LEAVE


def test_a_signal_has_the_workers_begin_again(board):
    surveyor = Surveyor(board, is_first=False)
    with surveyor.watching():
        leaving.hear()
        assert surveyor.wish() is Wish.RESTART


def test_a_node_that_is_taken_is_saved_from_once(board, monkeypatch):
    surveyor = Surveyor(board, is_first=False)
    with surveyor.watching():
        monkeypatch.setattr(worker, "node_is_taken", lambda: True)
        assert wish_in_time(surveyor, Wish.SAVE) is Wish.SAVE
        time.sleep(0.1)
        assert surveyor.wish() is Wish.NOTHING


def test_ray_says_that_a_node_is_taken(monkeypatch):
    from ray.train.v2._internal.execution import context

    assert not worker.node_is_taken()  # outside of a worker
    told = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(context, "get_train_context", lambda: told)
    assert not worker.node_is_taken()
    told.preemption_context.preemption_info = object()
    assert worker.node_is_taken()


def test_several_workers_hear_of_a_wish_one_step_later():
    asked = []

    def begin_largest(number):
        asked.append(number)
        others = Wish.LEAVE if len(asked) == 1 else Wish.NOTHING  # another worker was told to end at the first step
        return lambda: max(number, others)

    process = SimpleNamespace(world=2, is_first=False, begin_largest=begin_largest)
    pauses = Pauses(SimpleNamespace(recorder=SimpleNamespace(process=process)))
    assert [pauses.agreed() for _ in range(2)] == [Wish.NOTHING, Wish.LEAVE]
