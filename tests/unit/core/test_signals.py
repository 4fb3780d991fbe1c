"""SIGTERM: a wish for whoever is at work, else the end."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from side4video.core import signals
from side4video.core.errors import Interrupted, Terminated, WorkerInterrupted


def send():
    os.kill(os.getpid(), signal.SIGTERM)


def test_at_work_the_first_is_a_wish_and_the_second_the_end():
    with signals.handling_signals():
        signals.set_busy(True)
        send()
        assert signals.stop_requested()
        with pytest.raises(Terminated, match="SIGTERM"):
            send()
    assert not signals.stop_requested()


def test_no_library_takes_it_for_an_error_of_its_own():
    """One that was interrupted while it wrote results would try again, and the signal would be lost."""

    def swallow():
        with suppress(Exception):
            send()

    with signals.handling_signals(), pytest.raises(Terminated):
        swallow()


def test_with_nothing_to_save_it_is_the_end():
    with signals.handling_signals():
        with pytest.raises(Terminated):
            send()
        signals.set_busy(True)
        signals.set_busy(False)
        with pytest.raises(Terminated):
            send()


def test_afterwards_signals_are_what_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with signals.handling_signals():
        assert signal.getsignal(signal.SIGTERM) is signals.handle_signal
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_library_may_take_the_signal_and_it_is_taken_back():
    with signals.handling_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signals.reinstall_handler()
        with pytest.raises(Terminated):
            send()
    before = signal.getsignal(signal.SIGTERM)
    signals.reinstall_handler()
    assert signal.getsignal(signal.SIGTERM) == before


def test_another_thread_hears_nothing_and_disturbs_nothing():
    seen = []

    def work():
        with signals.handling_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("kind", [Interrupted, WorkerInterrupted])
def test_it_travels_between_processes(kind):
    again = pickle.loads(pickle.dumps(kind("told")))  # noqa: S301
    assert (type(again), str(again), again.exit_code) == (kind, "told", 143)


class InFinaliser:
    """Sends a signal where Python swallows what its handler raises."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)


def drop(number):
    finalised = InFinaliser(number)
    del finalised


def drop_and_wait(number):
    drop(number)
    time.sleep(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_in_a_finaliser_comes_again(monkeypatch, number, error, capfd):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    signals.deliver_signals_safely()
    with signals.handling_signals(), pytest.raises(error):
        drop_and_wait(number)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_that_it_is_lost(monkeypatch, capfd):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with signals.handling_signals():
        drop(signal.SIGTERM)
        time.sleep(0.2)
    assert "Traceback" in capfd.readouterr().err


def test_other_errors_in_finalisers_are_shown(monkeypatch, capfd):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    signals.deliver_signals_safely()

    class Broken:
        def __del__(self):
            raise ValueError("broken finaliser")

    Broken()
    assert "broken finaliser" in capfd.readouterr().err


IMPORT = """
import os, signal, sys, threading, time
from side4video.core import signals
from side4video.core.errors import Terminated

NUMBER, IS_SAFE = signal.SIG{name}, {is_safe}
sent = []

def trace(frame, event, argument):
    # The line after `_imp.acquire_lock()`, where an exception leaves Python's import lock locked.
    if frame.f_code.co_name != "_get_module_lock" or not frame.f_code.co_filename.startswith("<frozen importlib"):
        return trace if event == "call" else None
    if event == "line" and frame.f_lineno > frame.f_code.co_firstlineno + 6 and not sent:
        sent.append(1)
        signal.raise_signal(NUMBER)
    return trace

def plain(number, frame):
    raise Terminated("asked") if number == signal.SIGTERM else KeyboardInterrupt

signals.deliver_signals_safely()
with signals.handling_signals():
    if not IS_SAFE:
        signal.signal(NUMBER, plain)
    try:
        sys.settrace(trace)
        import wave
        sys.settrace(None)
        time.sleep(5)
    except (Terminated, KeyboardInterrupt) as error:
        sys.settrace(None)
        print(type(error).__name__, bool(sent), flush=True)
other = threading.Thread(target=lambda: __import__("cgitb"), daemon=True)
other.start()
other.join(5)
print("hangs" if other.is_alive() else "imports", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("name", "error"), [("TERM", "Terminated"), ("INT", "KeyboardInterrupt")])
@pytest.mark.parametrize(("is_safe", "end"), [(True, "imports"), (False, "hangs")])
def test_a_signal_does_not_break_an_import(name, error, is_safe, end):
    """The twin: a handler that raises there leaves a lock, and every other thread that imports waits for ever."""
    code = IMPORT.format(name=name, is_safe=is_safe)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [error, "True", end], done.stderr


def send_and_wait():
    send()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_signal_is_delayed_for_a_while_only(monkeypatch):
    monkeypatch.setattr(signals, "_TAKES_LOCKS", __file__)
    monkeypatch.setattr(signals, "_LONGEST_DELAY_SECONDS", 0.2)
    with signals.handling_signals(), pytest.raises(Terminated):
        send_and_wait()


@pytest.mark.parametrize("stop", [Terminated("asked to stop"), KeyboardInterrupt(), Interrupted("saved")])
def test_a_stop_behind_an_error_of_a_library_is_found(stop):
    """A function written in C says `returned a result with an exception set`, and hides what was raised in it."""

    def fails():
        try:
            raise stop
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error

    with pytest.raises(SystemError) as caught:
        fails()
    assert signals.stop_behind(caught.value) is stop
    assert signals.stop_behind(RuntimeError("of a library")) is None
    caught.value.__cause__ = None
    assert signals.stop_behind(caught.value) is stop  # by its context
