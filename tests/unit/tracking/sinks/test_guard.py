"""What a sink may do to a run: nothing. One warning, one note, and it is left alone."""

import threading

from side4video.tracking.sinks.guard import FAILURE_PREFIX, Guard
from sink_fakes import FailingSink, ListSink, SlowSink


def test_an_error_is_said_once_and_the_sink_is_left_alone(caplog):
    sink = FailingSink("log")
    guard = Guard(sink)
    for _ in range(3):
        guard.call(lambda each: each.log("r", []))
    assert sink.calls == ["log"]
    assert guard.failure.startswith(f"{FAILURE_PREFIX}A wall: ")
    assert "no space for log" in guard.failure
    assert "hf_" not in guard.failure
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_sink_that_hangs_is_waited_for_once():
    gate = threading.Event()
    guard = Guard(ListSink(), limit_seconds=0.01)
    guard.call(lambda each: gate.wait())
    assert "took longer than 0.01 s" in guard.failure
    called = []
    guard.call(called.append)
    gate.set()
    assert called == []


def test_even_the_end_of_the_process_is_no_reason_to_end_a_run():
    guard = Guard(ListSink())

    def leave(_):
        raise SystemExit(3)

    guard.call(leave)
    assert guard.failure


def test_calls_come_in_order_and_are_done_when_call_returns():
    sink, seen = SlowSink(0.0), []
    guard = Guard(sink)
    for number in range(50):
        guard.call(lambda each, number=number: seen.append((each, number)))
        assert seen[-1] == (sink, number)
    assert guard.failure == ""
