"""What a Ray Train worker requests between two steps: after SIGTERM, for its node, for the driver."""

import time
from types import SimpleNamespace

import pytest

from side4video.core import signals
from side4video.core.errors import Side4VideoError, Terminated
from side4video.distributed.worker import PreemptionMonitor
from side4video.engine.preemption import CheckpointTimer, StopRequest


class Node:
    """Ray's knowledge of a node."""

    def __init__(self):
        self.is_preempted = False

    def __call__(self):
        return self.is_preempted


@pytest.fixture(autouse=True)
def _own_signals():
    with signals.handling_signals():
        yield


def monitor_of(node=None, driver=None):
    return PreemptionMonitor(driver, is_preempted=node or Node(), every_seconds=0.01)


def request_in_time(monitor, expected):
    deadline = time.monotonic() + 5
    while (request := monitor.stop_request()) is not expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return request


def test_nothing_at_first():
    monitor = monitor_of()
    with monitor.running():
        assert monitor.stop_request() is StopRequest.NOTHING


def test_the_driver_stops_the_run():
    requests = []
    monitor = monitor_of(driver=lambda: bool(requests))
    with monitor.running():
        requests.append("stop")
        assert request_in_time(monitor, StopRequest.LEAVE) is StopRequest.LEAVE


def test_a_driver_that_does_not_answer_stops_nothing():
    def driver():
        raise TimeoutError

    monitor = monitor_of(driver=driver)
    with monitor.running():
        time.sleep(0.1)
        assert monitor.stop_request() is StopRequest.NOTHING


def test_a_signal_restarts_the_workers():
    monitor = monitor_of()
    with monitor.running():
        signals.handle_signal()
        assert monitor.stop_request() is StopRequest.RESTART


def test_outside_of_training_a_signal_ends_the_process():
    with monitor_of().running():
        pass
    with pytest.raises(Terminated):
        signals.handle_signal()


def test_a_node_that_is_preempted_is_saved_from_once():
    node = Node()
    monitor = monitor_of(node)
    with monitor.running():
        node.is_preempted = True
        assert request_in_time(monitor, StopRequest.SAVE) is StopRequest.SAVE
        time.sleep(0.1)
        assert monitor.stop_request() is StopRequest.NOTHING


def test_a_ray_that_cannot_say_so_is_an_error_at_once():
    def changed():
        raise Side4VideoError("Ray 9 has no such name")

    with pytest.raises(Side4VideoError, match="Ray 9"), monitor_of(changed).running():
        pass


def test_several_workers_agree_on_a_request_one_step_later():
    asked = []

    def all_reduce_max_async(number):
        asked.append(number)
        # Another worker got SIGTERM in the first step.
        others = StopRequest.LEAVE if len(asked) == 1 else StopRequest.NOTHING
        return lambda: max(number, others)

    process = SimpleNamespace(world=2, is_first=False, all_reduce_max_async=all_reduce_max_async)
    checkpoint_timer = CheckpointTimer(SimpleNamespace(metrics_logger=SimpleNamespace(process=process)))
    assert [checkpoint_timer.common_request() for _ in range(2)] == [StopRequest.NOTHING, StopRequest.LEAVE]
