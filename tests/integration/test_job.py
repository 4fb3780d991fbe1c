"""`ray job submit` as the README says, against a head of the test's own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from side4video.tracking.store import Store
from tiny import DOCUMENT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BIN = Path(sys.executable).parent


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def head():
    """A head on free ports; ended by its processes' ids, because `ray stop` would end every Ray on the machine."""
    # Ray's socket paths must stay short.
    folder = tempfile.mkdtemp(prefix="s4v-", dir="/tmp")
    dashboard = free_port()
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {process.pid for process in psutil.process_iter()}
    command = [BIN / "ray", "start", "--head", "--port", str(free_port()), "--dashboard-port", str(dashboard)]
    command += ["--dashboard-host", "127.0.0.1", "--num-cpus", "2", "--temp-dir", folder]
    # Another Ray on this machine holds the agent's usual port.
    command += ["--dashboard-agent-listen-port", str(free_port())]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        started = [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid not in before and any("ray" in word for word in process.info["cmdline"] or ())
        ]
        for process in started:
            process.kill()
        psutil.wait_procs(started, timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


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
    runs = [run for run in Store().prepare().runs() if run.name == "job"]
    assert [run.status for run in runs] == ["FINISHED"]
    assert runs[0].metrics["eval/videos"] == 20
