"""What a Ray Train worker wishes between two steps: of SIGTERM, of its node, of the driver."""

import time
from types import SimpleNamespace

import pytest

from side4video.core import signals
from side4video.distributed import worker
from side4video.distributed.worker import PreemptionMonitor
from side4video.engine.preemption import CheckpointTimer, StopRequest


class ProgressActor:
    """The driver's board, without Ray."""

    def __init__(self):
        self.leaves = False
        self.is_leaving = SimpleNamespace(remote=lambda: self.leaves)


@pytest.fixture
def progress_actor(monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(worker, "ray", SimpleNamespace(get=lambda answer, timeout: answer))
    monkeypatch.setattr(worker, "node_is_preempted", lambda: False)
    signals._asked.clear()
    yield ProgressActor()
    signals._asked.clear()


def wish_in_time(monitor, expected):
    deadline = time.monotonic() + 5
    while (stop_request := monitor.stop_request()) is not expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return stop_request


def test_nothing_at_first(progress_actor):
    with PreemptionMonitor(progress_actor, is_first=True).watching():
        pass
    assert PreemptionMonitor(progress_actor, is_first=True).stop_request() is StopRequest.NOTHING


def test_the_driver_has_the_run_leave(progress_actor):
    monitor = PreemptionMonitor(progress_actor, is_first=True)
    with monitor.watching():
        progress_actor.leaves = True
        assert wish_in_time(monitor, StopRequest.LEAVE) is StopRequest.LEAVE


def test_a_signal_has_the_workers_begin_again(progress_actor):
    monitor = PreemptionMonitor(progress_actor, is_first=False)
    with monitor.watching():
        signals.handle_signal()
        assert monitor.stop_request() is StopRequest.RESTART


def test_a_node_that_is_taken_is_saved_from_once(progress_actor, monkeypatch):
    monitor = PreemptionMonitor(progress_actor, is_first=False)
    with monitor.watching():
        monkeypatch.setattr(worker, "node_is_preempted", lambda: True)
        assert wish_in_time(monitor, StopRequest.SAVE) is StopRequest.SAVE
        time.sleep(0.1)
        assert monitor.stop_request() is StopRequest.NOTHING


def test_ray_says_that_a_node_is_taken(monkeypatch):
    from ray.train.v2._internal.execution import context

    assert not worker.node_is_preempted()  # outside of a worker
    told = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(context, "get_train_context", lambda: told)
    assert not worker.node_is_preempted()
    told.preemption_context.preemption_info = object()
    assert worker.node_is_preempted()


def test_several_workers_hear_of_a_wish_one_step_later():
    asked = []

    def begin_largest(number):
        asked.append(number)
        others = (
            StopRequest.LEAVE if len(asked) == 1 else StopRequest.NOTHING
        )  # another worker was told to end at the first step
        return lambda: max(number, others)

    process = SimpleNamespace(world=2, is_first=False, begin_largest=begin_largest)
    checkpoint_timer = CheckpointTimer(SimpleNamespace(recorder=SimpleNamespace(process=process)))
    assert [checkpoint_timer.agreed() for _ in range(2)] == [StopRequest.NOTHING, StopRequest.LEAVE]
