"""The tracking server dies in the middle of a run, or is away at its end: nothing is missing, nothing is twice."""

import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore
from slow_steps import SLOWLY
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]

EPOCHS, STEPS_PER_EPOCH = 12, 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(folder))
    return folder


@pytest.fixture
def server(home, tmp_path):
    (tmp_path / "server").mkdir()
    server = TrackingServer(MLflowStore(f"sqlite:///{tmp_path}/server/mlflow.db").prepare(), port=free_port())
    yield server
    server.stop()


def kill(server):
    family = [psutil.Process(server.process_id), *psutil.Process(server.process_id).children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)
    server.stop()


def start(tmp_path, server, pause):
    optimization = {"batch_size": 4, "length": {"epochs": EPOCHS}}
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, {"optimization": optimization, "name": "away"})))
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": server.address,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SLOWLY, str(pause), "run", str(file), "--local", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def newest_step(home):
    names = [folder.name for folder in (home / "runs").glob("*/checkpoint-*") if folder.suffix != ".partial"]
    return max((int(name.rpartition("-")[2]) for name in names), default=0)


def wait_for_step(home, step, process):
    deadline = time.monotonic() + 120
    while newest_step(home) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_complete(server, answer):
    store = MLflowStore(server.address).prepare()
    (run,) = store.runs("attributes.run_name = 'away'")
    assert (run.run_id, run.status, run.tags["state"]) == (answer["run_id"], "FINISHED", "finished")
    for key in run.metrics:
        stored = store.history(run.run_id, key)
        assert len({each.step for each in stored}) == len(stored), key
        times = [each.timestamp_ms for each in stored]
        assert times == sorted(times), key
    ends = [STEPS_PER_EPOCH * (epoch + 1) - 1 for epoch in range(EPOCHS)]
    for key in ("eval/top1", "train/loss", "time/step_s", "best/top1"):
        assert [each.step for each in store.history(run.run_id, key)] == ends, key
    assert run.metrics["eval/top1"] == answer["metrics"]["eval/top1"]
    assert list((server.log_file.parents[1] / "outbox").glob("*.jsonl")) == []


def test_it_dies_in_the_middle_and_comes_back(server, home, tmp_path):
    server.start()
    process = start(tmp_path, server, 0.4)
    wait_for_step(home, 10, process)
    kill(server)
    at_death = newest_step(home)
    wait_for_step(home, at_death + 15, process)  # training goes on
    server.start()
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert "is not reachable; writes are queued in" in error
    assert_complete(server, json.loads(out))


@pytest.mark.long
def test_it_is_away_at_the_end_and_the_next_command_delivers(server, home, tmp_path):
    server.start()
    process = start(tmp_path, server, 0.05)
    wait_for_step(home, 40, process)
    kill(server)
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert list((home / "outbox").glob("*.jsonl"))
    with pytest.raises(InputError, match=r"tracking\.uri.*cannot be used"):
        MLflowStore(server.address).prepare()  # away at the start: said at once, nothing begins
    server.start()
    from side4video.runs.launch import launch
    from tiny import tiny

    launch({"tiny": tiny(tracking={"uri": server.address})}, progress=SILENT)
    assert_complete(server, json.loads(out))


@pytest.mark.long
def test_twin_whose_outbox_forgets(server, home, tmp_path):
    server.start()
    process = start(tmp_path, server, 0.4)
    wait_for_step(home, 10, process)
    kill(server)
    at_death = newest_step(home)
    wait_for_step(home, at_death + 15, process)
    for file in (home / "outbox").glob("*.jsonl"):
        file.unlink()
    server.start()
    out, _ = process.communicate(timeout=200)
    with pytest.raises(AssertionError):
        assert_complete(server, json.loads(out))
