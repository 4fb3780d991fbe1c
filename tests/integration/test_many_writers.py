"""32 arms that write at once, to one SQLite file and to one server: nothing is lost, nothing locks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from many_writers import METRICS, value
from side4video.tracking.server import TrackingServer
from side4video.tracking.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROCESSES, ARMS, EPOCHS = 4, 8, 6
SCRIPT = Path(__file__).parents[1] / "support" / "many_writers.py"


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.long)])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    own = Store(f"sqlite:///{tmp_path}/mlflow.db").prepare()
    if request.param == "file":
        yield own
        return
    with TrackingServer(own, port=free_port()) as server:
        yield Store(server.address).prepare()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def write_at_once(store, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    begin = tmp_path / "begin"
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), store.uri, str(number * ARMS), str(ARMS), str(EPOCHS), str(begin)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        begin.touch()
        answers = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, answers, strict=True):
        assert process.returncode == 0, errors
        assert "locked" not in errors, errors
    return [json.loads(out) for out, _ in answers]


def check(store, answers):
    """Everything that was written is there, once, in its order."""
    runs = {int(arm): run for answer in answers for arm, run in answer["runs"].items()}
    assert sorted(runs) == list(range(PROCESSES * ARMS))
    assert len(set(runs.values())) == PROCESSES * ARMS
    for arm, run in runs.items():
        for place, key in enumerate(METRICS):
            points = [(metric.step, metric.value) for metric in store.history(run, key)]
            assert points == [(epoch, value(arm, epoch, place)) for epoch in range(EPOCHS)]
        stored = store.get(run)
        assert (stored.status, stored.tags["state"]) == ("FINISHED", "finished")


def test_nothing_is_lost_and_nothing_locks(store, tmp_path):
    answers = write_at_once(store, tmp_path)
    assert [answer["left"] for answer in answers] == [0] * PROCESSES
    check(store, answers)
    calls = [each for answer in answers for each in answer["calls"]]
    assert len(calls) == PROCESSES * ARMS * EPOCHS


def test_the_twin_that_loses_a_point_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    store = Store(f"sqlite:///{tmp_path}/mlflow.db").prepare()
    from side4video.tracking.records import Metric

    runs = {arm: store.start_run(name=f"arm-{arm}", key=f"many-{arm}") for arm in range(PROCESSES * ARMS)}
    for arm, run in runs.items():
        points = [
            Metric(key, value(arm, epoch, place), epoch, 1)
            for epoch in range(EPOCHS)
            for place, key in enumerate(METRICS)
        ]
        store.log(run, points[:-1] if arm == 7 else points)
        store.set_tags(run, {"state": "finished"})
        store.finish(run)
    with pytest.raises(AssertionError):
        check(store, [{"runs": {str(arm): run for arm, run in runs.items()}}])
