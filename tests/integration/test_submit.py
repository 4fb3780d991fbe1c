"""`side4video submit` and `jobs` against a head of the test's own: a run, a sweep, what fails, what is stopped."""

import json
import subprocess
import time

import psutil
import pytest
import yaml

from ray_heads import BIN, cluster
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def head():
    with cluster() as heads:
        yield heads
    assert [process for process in heads.processes() if process.status() != psutil.STATUS_ZOMBIE] == []


def runs(**tags):
    return {run.name: run for run in MLflowStore().prepare().runs()}


def epochs():
    """How far the one run that is called `long` has come."""
    store = MLflowStore().prepare()
    (run,) = [each for each in store.runs() if each.name == "long"]
    return len(store.history(run.run_id, "eval/top1"))


def test_a_run_is_followed_to_its_end_and_recorded(head, tmp_path):
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").write_text(yaml.safe_dump(DOCUMENT))
    words = ["side4video", "submit", "specs/a.yaml", "--address", head.address, "--set", "name=followed"]
    done = head.command(*words, "--submission-id", "followed", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "followed" in done.stdout
    assert "top-1" in done.stdout
    assert "Job followed is submitted: run followed, 1 file (" in done.stderr
    assert "Job followed succeeded after " in done.stderr
    run = runs()["followed"]
    assert run.status == "FINISHED"
    assert run.metrics["eval/videos"] == 20
    listed = json.loads(
        head.command("side4video", "jobs", "list", "--json", "--address", head.address, cwd=tmp_path).stdout
    )
    (job,) = [each for each in listed if each["submission_id"] == "followed"]
    assert (job["name"], job["kind"], job["state"], job["exit_code"]) == ("followed", "run", "SUCCEEDED", 0)
    assert job["entrypoint"] == "side4video run specs/a.yaml --set name=followed"
    assert len(job["digest"]) == 64
    again = head.command(*words, "--submission-id", "followed", cwd=tmp_path)
    assert again.returncode == 2
    assert "--submission-id: followed is a job of this cluster" in again.stderr


@pytest.mark.long
def test_a_sweep_is_followed_to_its_end_and_recorded(head, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"seed": 41})))
    sweep = {"name": "sent-sweep", "base": "../base/a.yaml", "grid": {"optimization.learning_rate": [1e-3, 1e-4]}}
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "s.yaml").write_text(yaml.safe_dump(sweep))
    done = head.command(
        *("side4video", "submit", "sweeps/s.yaml", "--json"),
        cwd=tmp_path,
        RAY_API_SERVER_ADDRESS=head.address,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["kind"], answer["state"], answer["exit_code"]) == ("sweep", "SUCCEEDED", 0)
    assert answer["files"].keys() == {"sweeps/s.yaml", "base/a.yaml"}
    store = MLflowStore().prepare()
    arms = store.runs("params.`arm/seed` != ''")
    mine = [run for run in arms if run.params.get("seed") == "41"]
    assert [run.status for run in mine] == ["FINISHED"] * 2
    assert all(run.metrics["eval/videos"] == 20 for run in mine)
    logs = head.command("side4video", "jobs", "logs", answer["submission_id"], "--address", head.address, cwd=tmp_path)
    assert logs.returncode == 0
    assert "2 distinct arms" in logs.stdout


def test_a_mistake_that_only_the_cluster_finds_is_exit_code_2(head, tmp_path):
    dataset = {"kind": "list", "annotations": "/no/such/list.csv", "root": "/no/such"}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"data": {"dataset": dataset}})))
    done = head.command("side4video", "submit", "a.yaml", "--address", head.address, cwd=tmp_path)
    assert done.returncode == 2
    assert "/no/such/list.csv" in done.stdout
    assert "failed with exit code 2" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_line_of_a_dry_run_works_when_pasted(head, tmp_path):
    (tmp_path / "a b.yaml").write_text(yaml.safe_dump(DOCUMENT))
    words = ["side4video", "submit", "a b.yaml", "--dry-run", "--address", head.address, "--submission-id", "pasted"]
    line = head.command(*words, "--env", "API_TOKEN", "--", "--local", cwd=tmp_path, API_TOKEN='it\'s "x"')
    assert "it's" not in line.stdout
    done = subprocess.run(
        ["bash", "-c", line.stdout],
        env={**head.environment, "API_TOKEN": 'it\'s "x"'},
        cwd=tmp_path,
        timeout=200,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job 'pasted' succeeded" in done.stdout + done.stderr
    listed = json.loads(
        head.command("side4video", "jobs", "list", "--json", "--address", head.address, cwd=tmp_path).stdout
    )
    (job,) = [each for each in listed if each["submission_id"] == "pasted"]
    assert (job["name"], job["state"]) == ("tiny", "SUCCEEDED")


def test_ctrl_c_leaves_the_job_and_stop_ends_it(head, tmp_path):
    long = merged(DOCUMENT, {"name": "long", "optimization": {"length": {"epochs": 500}}})
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(long))
    following = subprocess.Popen(
        [BIN / "side4video", "submit", "a.yaml", "--address", head.address, "--submission-id", "long", "--", "--local"],
        env={**head.environment, "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "is submitted" in following.stderr.readline()
        assert following.stdout.readline()  # the job says something
        while not [run for run in MLflowStore().prepare().runs() if run.name == "long"] or not epochs():
            time.sleep(0.5)
        following.send_signal(2)
        _, errors = following.communicate(timeout=60)
    finally:
        following.kill()
        following.communicate()
    assert following.returncode == 130
    assert f"side4video jobs stop long --address {head.address}" in errors

    def jobs(*words):
        return head.command("side4video", "jobs", *words, "--address", head.address, cwd=tmp_path)

    (job,) = [each for each in json.loads(jobs("list", "--json").stdout) if each["submission_id"] == "long"]
    assert job["state"] == "RUNNING"
    started = time.monotonic()
    stopped = jobs("stop", "long")
    assert (stopped.returncode, time.monotonic() - started < 60) == (0, True), stopped.stdout + stopped.stderr
    assert "Job long was stopped after" in stopped.stdout
    assert "has already ended: STOPPED" in jobs("stop", "long").stdout
    table = jobs("list").stdout
    assert [line.split()[2] for line in table.splitlines() if line.startswith("long")] == ["STOPPED"]

    # Sent again it goes on where it was stopped, in the same record.
    reached = epochs()
    words = ["side4video", "submit", "a.yaml", "--address", head.address, "--submission-id", "again", "--no-wait"]
    assert head.command(*words, "--", "--local", "--go-on", cwd=tmp_path).returncode == 0
    deadline = time.monotonic() + 90
    while epochs() <= reached + 1 and time.monotonic() < deadline:
        time.sleep(1)
    assert epochs() > reached + 1, jobs("logs", "again").stdout
    assert jobs("stop", "again").returncode == 0


def test_a_cluster_that_wants_a_token_is_asked_with_one(tmp_path):
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump(merged(DOCUMENT, {"backbone": {"weights": {"kind": "file", "path": "/no"}}}))
    )
    with cluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="t" * 64) as heads:
        words = ["side4video", "submit", "a.yaml", "--address", heads.address]
        for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "u" * 64}):
            done = heads.command(*words, cwd=tmp_path, **wrong)
            assert done.returncode == 2, done.stdout + done.stderr
            assert "requires a token" in done.stderr
            assert "fix: export RAY_AUTH_MODE=token" in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
        # What the job says comes back too; it is wrong, so that it ends at once.
        done = heads.command(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "backbone.weights.path: /no does not exist" in done.stdout
