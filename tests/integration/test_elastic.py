"""A run whose workers come and go: a node joins and it goes on with two, the node dies and it goes on with one."""

import subprocess
import sys
import time

import psutil
import pytest
import yaml

import ray_heads
from side4video.spec.load import load_experiment
from side4video.tracking.stores import open_store
from side4video.tracking.tags import NOTES_TAG
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(900)]

EPOCHS, STEPS_PER_EPOCH = 120, 5
LIMIT_SECONDS = 240.0
MEASURED = ("eval/top1", "eval/loss", "train/loss", "train/learning_rate", "eval/epoch")
METHOD = {"kind": "linear"}
"""Without batch norm and dropout, which differ with the number of workers."""


@pytest.fixture
def heads(tmp_path):
    home = {"SIDE4VIDEO_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    with ray_heads.cluster(cpus=1, RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="20", **home) as heads:
        yield heads
    assert [process for process in heads.processes() if process.status() != psutil.STATUS_ZOMBIE] == []


def notes(store):
    """What the one run's record says of how it went."""
    return [line for run in store.runs() for line in run.tags.get(NOTES_TAG, "").splitlines() if "worker" in line]


def wait_for(store, note, driver):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not any(line.startswith(note) for line in notes(store)):
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, notes(store)
        time.sleep(0.5)


def kill_newest_node(heads):
    """The raylet, and the workers with it."""
    place = f"{heads.folder}-{heads.nodes}/"
    for process in heads.processes():
        words = " ".join(process.cmdline()) if process.is_running() else ""
        if place in words and "/raylet/raylet" in words:
            process.kill()


def histories(store):
    (run,) = store.runs()
    assert run.status == "FINISHED"
    return {key: {each.step: each.value for each in store.history(run.run_id, key)} for key in MEASURED}


def test_workers_come_and_go_with_the_nodes(heads, tmp_path, monkeypatch):
    elastic = {"workers": [1, 2], "resize_minutes": 0.1, "storage": str(tmp_path / "runs"), "max_failures": 9}
    optimization = {"batch_size": 4, "length": {"epochs": EPOCHS}, "epsilon": 1e-2}
    changes = {"method": METHOD, "optimization": optimization, "cluster": elastic}
    file = tmp_path / "elastic.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    store = open_store(load_experiment(file).tracking).prepare()
    command = [sys.executable, "-m", "side4video", "run", str(file), "--address", f"127.0.0.1:{heads.port}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    driver = subprocess.Popen(command, env=heads.environment, cwd=tmp_path, **pipes)
    try:
        wait_for(store, "began with 1 of 1 to 2 workers", driver)
        heads.join(cpus=1)
        wait_for(store, "went on with 2 workers after 1", driver)
        kill_newest_node(heads)
        wait_for(store, "went on with 1 worker after 2", driver)
        output, _ = driver.communicate(timeout=LIMIT_SECONDS)
    finally:
        driver.kill()
        driver.communicate()
    assert driver.returncode == 0, output
    disturbed = histories(store)

    fixed = merged(DOCUMENT, {"method": METHOD, "optimization": optimization})
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(fixed))
    home = {"SIDE4VIDEO_HOME": str(tmp_path / "other")}
    done = heads.command("side4video", "run", str(alone), "--local", cwd=tmp_path, **home)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "other"))
    undisturbed = histories(open_store(load_experiment(alone).tracking).prepare())
    assert disturbed.keys() == undisturbed.keys()
    for key, values in undisturbed.items():
        assert disturbed[key].keys() == values.keys(), key
        assert disturbed[key] == pytest.approx(values, rel=1e-3, abs=1e-5), key
    assert list(undisturbed["eval/top1"]) == list(range(STEPS_PER_EPOCH - 1, EPOCHS * STEPS_PER_EPOCH, STEPS_PER_EPOCH))
