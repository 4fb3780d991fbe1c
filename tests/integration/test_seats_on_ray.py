"""Seats on Ray: the same search as in one process, a trial of Ray Tune for each arm, and a worker that dies."""

import os
import signal
import threading
import time

import psutil
import pytest

import sweeps
from seat_passes import ASHA, LENGTH, OPTUNA
from side4video.distributed import pass_tune
from side4video.runs.endless_pass import records_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEARCH = {"optuna": {**OPTUNA, "arms": 5}, "scheduler": ASHA, "packing": {"seats": 2}}


def what_is_left(result):
    records = records_of(result.sweep_logger.store, result.sweep_logger.parent)
    return sweeps.table(result), [(each.name, each.state, each.values, each.stays) for each in records]


@pytest.fixture(scope="module")
def in_one_process():
    _, result = sweeps.run(sweeps.make_sweep("seats-here", {**LENGTH, "seed": 81}, **SEARCH))
    return what_is_left(result)


def test_a_search_on_ray_is_the_search_in_one_process(cluster, in_one_process, monkeypatch):
    trials = {}
    choose = pass_tune._PausingScheduler.on_trial_result

    def note(self, controller, trial, result):
        decision = choose(self, controller, trial, result)
        trials.setdefault(trial.config["arm"], []).append(decision)
        return decision

    monkeypatch.setattr(pass_tune._PausingScheduler, "on_trial_result", note)
    sweep = sweeps.make_sweep("seats-ray", {**LENGTH, "seed": 81}, **SEARCH)
    _, result = sweeps.run(sweep, local=False)
    assert what_is_left(result) == in_one_process
    records = records_of(result.sweep_logger.store, result.sweep_logger.parent)
    assert trials.keys() == {record.name for record in records}
    paused = [record.name for record in records if len(record.stays) > 1 or record.state == "stopped"]
    assert any("PAUSE" in trials[name] for name in paused)


@pytest.mark.long
def test_a_worker_that_is_killed_changes_nothing(cluster, in_one_process):
    sweep = sweeps.make_sweep("seats-killed", {**LENGTH, "seed": 81}, **SEARCH)
    killed = []

    class Killing:
        def report(self, phase, done=0, total=0, **details):
            if phase == "seats" and details["epoch"] == 3 and not killed:
                killed.append(True)
                threading.Thread(target=kill_worker).start()

    def kill_worker():
        for process in psutil.process_iter(["cmdline"]):
            if any("RayTrainWorker" in part for part in process.info["cmdline"] or ()):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.1)

    _, result = sweeps.run(sweep, local=False, progress=Killing())
    assert killed
    assert what_is_left(result) == in_one_process
