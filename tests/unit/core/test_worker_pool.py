"""Processes that do small jobs: every item has an answer, and what dies or hangs costs one item."""

import os
import signal
import time

import pytest

from pool_jobs import die_on_seven, double, hang_on_seven, process_of, refuse_seven, stumble_on_seven
from side4video.core.errors import InputError
from side4video.core.worker_pool import CHUNK_SIZE, JobFailed, WorkerPool, cores


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as pool:
        yield pool


def test_every_item_is_done_once(pool):
    numbers = range(5 * CHUNK_SIZE + 3)
    assert sorted(pool.map_unordered(double, numbers)) == [(number, 2 * number) for number in numbers]
    assert list(pool.map_unordered(double, [])) == []


def test_all_processes_work_and_none_is_this_one(pool):
    found = {process for _, process in pool.map_unordered(process_of, range(4 * CHUNK_SIZE))}
    assert len(found) == pool.processes == 2
    assert os.getpid() not in found


def test_by_default_there_is_a_process_for_each_core():
    assert WorkerPool().processes == cores() >= 1


@pytest.mark.parametrize(("job", "reason"), [(die_on_seven, "died (exit code 9)"), (hang_on_seven, "within 2 s")])
def test_what_kills_or_stops_a_process_costs_one_item(pool, job, reason):
    found = dict(pool.map_unordered(job, range(40), limit_seconds=2))
    lost = found.pop(7)
    assert isinstance(lost, JobFailed)
    assert reason in lost.reason
    assert found == {number: 2 * number for number in range(40) if number != 7}


def test_errors_come_through(pool):
    with pytest.raises(InputError, match="seven") as caught:
        list(pool.map_unordered(refuse_seven, range(20)))
    assert caught.value.allowed == "other numbers"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(pool.map_unordered(stumble_on_seven, range(20)))
    assert sorted(pool.map_unordered(double, range(3))) == [(0, 0), (1, 2), (2, 4)]


def test_who_stops_listening_hears_nothing_of_it_later(pool):
    work = pool.map_unordered(double, range(1000))
    next(work)
    work.close()
    assert sorted(pool.map_unordered(double, [5000])) == [(5000, 10000)]


def test_items_are_taken_as_they_are_needed(pool):
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    work = pool.map_unordered(double, numbers())
    next(work)
    assert len(taken) <= 3 * CHUNK_SIZE
    work.close()


def test_an_idle_process_that_is_killed_is_replaced(pool):
    """The kernel may kill it when memory is short; one item may be lost with it."""
    processes = {process for _, process in pool.map_unordered(process_of, range(4 * CHUNK_SIZE))}
    os.kill(min(processes), signal.SIGKILL)
    found = [result for _, result in pool.map_unordered(double, range(40))]
    assert len(found) == 40
    assert sum(isinstance(result, JobFailed) for result in found) <= 1
    assert sorted(pool.map_unordered(double, range(3))) == [(0, 0), (1, 2), (2, 4)]


def test_nothing_is_left_behind():
    with WorkerPool(1) as pool:
        ((_, process),) = pool.map_unordered(process_of, [1])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the process still lives")
