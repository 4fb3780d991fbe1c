"""`ray job submit` as the README says, against a head of the test's own."""

import json
import subprocess
import time
import urllib.request

import pytest
import yaml

from ray_heads import BIN, cluster
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture
def head():
    with cluster() as heads:
        yield heads.address, heads.environment


def test_submitted_job_succeeds_and_its_run_is_recorded(head, tmp_path):
    address, environment = head
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**DOCUMENT, "name": "job", "cluster": {"workers": 2}}))
    submit = [BIN / "ray", "job", "submit", "--address", address, "--working-dir", ".", "--no-wait"]
    submit += ["--submission-id", "test", "--", "side4video", "run", "spec.yaml"]
    for _ in range(10):
        done = subprocess.run(submit, env=environment, cwd=tmp_path, timeout=120, capture_output=True, text=True)
        if "No available agent" not in done.stderr:
            break
        time.sleep(3)  # the head answers before its agent is there
    assert done.returncode == 0, done.stdout + done.stderr
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{address}/api/jobs/test", timeout=30) as answer:  # noqa: S310 - loopback
            status = json.load(answer)["status"]
        if status not in ("PENDING", "RUNNING"):
            break
        time.sleep(1)
    assert status == "SUCCEEDED"
    runs = [run for run in MLflowStore().prepare().runs() if run.name == "job"]
    assert [run.status for run in runs] == ["FINISHED"]
    assert runs[0].metrics["eval/videos"] == 20
