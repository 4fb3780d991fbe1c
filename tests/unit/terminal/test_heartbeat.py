"""No command is silent for long: lines come while nothing is reported, and none where work is quick."""

import threading
import time

from side4video.terminal.heartbeat import still_working
from side4video.terminal.progress import ProgressView
from side4video.terminal.sweep_view import SweepView

SHORT = 0.2
"""Longest silence, in seconds, instead of ten."""


def wait_for(capsys, count):
    """The lines as soon as there are so many; the test's time limit ends it."""
    found = []
    for _ in range(300):
        found += capsys.readouterr().err.splitlines()
        if len(found) >= count:
            break
        time.sleep(0.05)
    return found


def test_a_phase_that_reports_nothing_is_named_again(capsys):
    with ProgressView("demo", line_every=SHORT) as view:
        view.report("planning")
        found = wait_for(capsys, 3)
    assert found[0] == "demo: planning"
    assert all(line.startswith("demo: planning, ") and line.endswith(" so far") for line in found[1:3])


def test_it_has_the_newest_count(capsys):
    with ProgressView("demo", line_every=SHORT) as view:
        view.report("evaluating, views", 3, 9)
        found = wait_for(capsys, 2)
    assert found[1].startswith("demo: evaluating, views 3/9, ")


def test_work_without_a_view_is_named_too(capsys):
    with still_working("demo: planning", seconds=SHORT):
        found = wait_for(capsys, 2)
    assert all(line.startswith("demo: planning, ") for line in found)


def test_quick_work_prints_nothing_more(capsys):
    """The twin: with a long silence allowed, only what was reported is printed."""
    with still_working("demo: planning"), ProgressView("demo") as view:
        view.report("planning")
        time.sleep(3 * SHORT)
    assert capsys.readouterr().err.splitlines() == ["demo: planning"]


def test_a_sweep_says_what_it_does(capsys):
    view = SweepView("swept", "eval/top1", mode="max", videos_per_step=8)
    view.seconds_per_line = SHORT
    with view:
        view.report("planning")
        assert wait_for(capsys, 2) == ["swept: planning"] * 2
        view.report("loading the backbone", pack="a", arms=("one", "two"))
        found = wait_for(capsys, 2)
    assert found[0] == "swept: pack 1: loading the backbone"
    assert "2 arms on one pass: loading the backbone" in found[1]


def test_no_thread_stays(capsys):
    with ProgressView("demo", line_every=SHORT), still_working("demo", seconds=SHORT):
        assert sum(thread.name == "progress lines" for thread in threading.enumerate()) == 2
    assert not any(thread.name == "progress lines" for thread in threading.enumerate())
