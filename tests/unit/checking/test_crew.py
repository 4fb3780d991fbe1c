"""Processes that do small jobs: every item has an answer, and what dies or hangs costs one item."""

import os
import time

import pytest

from crew_jobs import die_on_seven, double, hang_on_seven, process_of, refuse_seven, stumble_on_seven
from side4video.core.crew import HANDFUL, Crew, Lost, cores
from side4video.core.errors import InputError


def test_every_item_is_done_once(crew):
    numbers = range(5 * HANDFUL + 3)
    assert sorted(crew.work(double, numbers)) == [(number, 2 * number) for number in numbers]
    assert list(crew.work(double, [])) == []


def test_all_processes_work_and_none_is_this_one(crew):
    found = {process for _, process in crew.work(process_of, range(4 * HANDFUL))}
    assert len(found) == crew.processes == 2
    assert os.getpid() not in found


def test_by_default_there_is_a_process_for_each_core():
    assert Crew().processes == cores() >= 1


@pytest.mark.parametrize(("job", "reason"), [(die_on_seven, "died (exit code 9)"), (hang_on_seven, "within 2 s")])
def test_what_kills_or_stops_a_process_costs_one_item(crew, job, reason):
    found = dict(crew.work(job, range(40), limit_seconds=2))
    lost = found.pop(7)
    assert isinstance(lost, Lost)
    assert reason in lost.reason
    assert found == {number: 2 * number for number in range(40) if number != 7}


def test_errors_come_through(crew):
    with pytest.raises(InputError, match="seven") as caught:
        list(crew.work(refuse_seven, range(20)))
    assert caught.value.allowed == "other numbers"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(crew.work(stumble_on_seven, range(20)))
    assert sorted(crew.work(double, range(3))) == [(0, 0), (1, 2), (2, 4)]


def test_who_stops_listening_hears_nothing_of_it_later(crew):
    work = crew.work(double, range(1000))
    next(work)
    work.close()
    assert sorted(crew.work(double, [5000])) == [(5000, 10000)]


def test_items_are_taken_as_they_are_needed(crew):
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    work = crew.work(double, numbers())
    next(work)
    assert len(taken) <= 3 * HANDFUL
    work.close()


def test_nothing_is_left_behind():
    with Crew(1) as crew:
        ((_, process),) = crew.work(process_of, [1])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the process still lives")
