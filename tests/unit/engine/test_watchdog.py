"""A process that hangs says where, and ends; one that moves is left alone."""

import subprocess
import sys
import textwrap
import time

import pytest

from side4video.engine.watchdog import EXIT_CODE, Watchdog

START = """
import ctypes, logging, sys, time
logging.basicConfig(level=logging.WARNING)
from side4video.engine import watchdog
from side4video.engine.watchdog import Watchdog
watchdog.FATAL_CALLBACK_SECONDS = 1.0
def tell(words):
    print("told:", words, flush=True)
def hangs_here():
    {hang}
"""


def run(hang, *, minutes=0.5 / 60, body="", tell="tell", timeout=60):
    code = START.format(hang=hang) + textwrap.dedent(
        body or f"with Watchdog({minutes}, {tell}):\n    hangs_here()\nprint('over', flush=True)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, cwd="platform", check=False
    )


def test_where_it_hung_is_in_the_log_and_somebody_is_told():
    done = run("time.sleep(50)")
    assert done.returncode == EXIT_CODE
    assert "hangs_here" in done.stderr
    assert "cluster.step_timeout_minutes" in done.stdout
    assert "over" not in done.stdout


def test_telling_may_hang_too():
    done = run("time.sleep(50)", tell="lambda words: time.sleep(50)")
    # On a machine that is busy the last resort, which needs no Python thread, may come first.
    assert done.returncode in (EXIT_CODE, 1)
    assert "hangs_here" in done.stderr


def test_a_library_that_holds_pythons_lock_is_ended_too():
    """`PyDLL` calls without letting go of the lock, so no other Python thread runs."""
    done = run("ctypes.PyDLL(None).sleep(50)")
    assert done.returncode == 1
    assert "hangs_here" in done.stderr


def test_twin_that_watches_nothing_hangs():
    with pytest.raises(subprocess.TimeoutExpired):
        run("time.sleep(50)", minutes=0, timeout=6)


def test_signs_of_life_keep_it_alive():
    told = []
    with Watchdog(0.4 / 60, told.append) as watchdog:
        for _ in range(10):
            time.sleep(0.1)
            watchdog.heartbeat()
    time.sleep(0.5)
    assert told == []
