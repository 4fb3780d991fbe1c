"""`side4video ui` and the server behind it: up, useful, and gone without a trace."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.core.network import is_localhost
from side4video.tracking.mlflow import server as server_module
from side4video.tracking.mlflow.connection import TrackingError
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore

UI = [sys.executable, "-c", "from side4video.apps.mlflow_ui.ui import ui; ui()"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(address, path, document=None):
    data = json.dumps(document).encode() if document else None
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback(host):
    assert is_localhost(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])  # noqa: S104 not bound
def test_what_other_machines_may_reach(host):
    assert not is_localhost(host)


def test_a_taken_port_is_one_line_with_a_free_one(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"^--port: 127\.0\.0\.1:{port} cannot be used .* · fix: --port \d+$"):
            TrackingServer(store, port=port).start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_said_plainly(store, host):
    with pytest.raises(InputError, match=r"^--(host|port): "):
        TrackingServer(store, host=host, port=free_port()).start()


def test_a_server_that_ends_at_once_names_its_log(store, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    server = TrackingServer(store, port=free_port())
    with pytest.raises(TrackingError, match=r"ended at once .*tracking-server"):
        server.start()
    assert server.process_id == 0


def test_stopping_ends_the_whole_family_even_if_it_does_not_listen(store):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {deaf!r}]); print(flush=True)\n{deaf}"
    server = TrackingServer(store, port=free_port())
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) == 2
    server._process, server.stop_seconds = process, 0.5
    server.stop()
    assert not [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_ui_serves_the_runs_and_leaves_no_process(store, home, tmp_path):
    run_id = store.start_run(name="shown", key="k")
    store.log(run_id, [Metric("eval/top1", 0.5, 1, 1)])
    store.log_text(run_id, "hello", "a.txt")
    port = free_port()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    ui = subprocess.Popen(
        [*UI, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        assert ui.stdout.readline() == f"MLflow: {address}  (stop it with Ctrl-C)\n"
        link = ui.stdout.readline().split()[-1]
        assert link.startswith(f"{address}/#/experiments/{store.experiment_id}/runs?viewStateShareKey=side4video-runs")
        family = [psutil.Process(ui.pid), *psutil.Process(ui.pid).children(recursive=True)]
        assert len(family) > 1
        assert fetch(address, "/health") == (200, "OK")
        _, found = fetch(address, "/api/2.0/mlflow/runs/search", {"experiment_ids": [store.experiment_id]})
        assert json.loads(found)["runs"][0]["info"]["run_id"] == run_id
        assert fetch(address, f"/get-artifact?path=a.txt&run_uuid={run_id}") == (200, "hello")
        assert all(
            c.laddr.ip == "127.0.0.1" for member in family for c in member.net_connections() if c.status == "LISTEN"
        )
        ui.send_signal(signal.SIGINT)
        _, errors = ui.communicate(timeout=90)
        assert ui.returncode == 0
        assert errors.splitlines() == ["Starting MLflow …", "MLflow ended."]
        assert [member for member in family if member.is_running()] == []
    finally:
        ui.kill()
        ui.communicate()
    assert set(tmp_path.iterdir()) == {home}


@pytest.mark.slow
@pytest.mark.parametrize("waits", [True, False])
def test_a_signal_between_a_childs_birth_and_its_name_loses_no_child(store, monkeypatch, waits):
    """The twin hears it at once, and nobody knows the child any more."""
    begun, begin = [], subprocess.Popen

    def beginning(*words, **options):
        begun.append(begin(*words, **options))
        signal.raise_signal(signal.SIGINT)
        return begun[-1]

    monkeypatch.setattr(server_module.subprocess, "Popen", beginning)
    if not waits:
        monkeypatch.setattr(server_module, "_signals_deferred", contextlib.nullcontext)
    try:
        with pytest.raises(KeyboardInterrupt):
            TrackingServer(store, port=free_port()).start()
        assert (begun[0].poll() is not None) == waits
    finally:
        begun[0].kill()
        begun[0].wait()


def servers_below(process_id):
    """Processes below one that run MLflow's server."""
    found = []
    for child in psutil.Process(process_id).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "mlflow" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow
def test_ui_that_is_ended_while_it_starts_leaves_no_process(store, home):
    ui = subprocess.Popen([*UI, "--port", str(free_port())], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        # A short-lived child of an import comes before the handler of the signal is there.
        while not (children := servers_below(ui.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert children
        ui.send_signal(signal.SIGTERM)
        output, errors = ui.communicate(timeout=90)
        assert (ui.returncode, output) == (0, "")
        assert errors.splitlines() == ["Starting MLflow …", "MLflow ended."]
        assert [member for member in children if member.is_running()] == []
    finally:
        ui.kill()
        ui.communicate()


@pytest.mark.slow
def test_a_run_over_a_server_survives_its_absence(store, home, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr("side4video.tracking.mlflow.writer.PROBE_EVERY_SECONDS", 0.0)
    server = TrackingServer(store, port=free_port())
    far = MLflowStore(server.address)
    with pytest.raises(InputError, match=r"^tracking\.uri: .*cannot be used.*fix: start the server"):
        far.prepare()
    with server:
        run_id = far.start_run(name="far", key="k", params={"lr": 1})
        far.log(run_id, [Metric("train/loss", float("nan"), 0, 1), Metric("train/loss", float("inf"), 1, 1)])
    started = time.monotonic()
    for step in (2, 3, 4):
        far.log(run_id, [Metric("train/loss", 1.0, step, 1)])
    far.log_text(run_id, "late", "late.txt")
    far.finish(run_id)
    assert time.monotonic() - started < 30
    assert far.flush() == 5
    with server:
        assert far.flush() == 0
        assert [m.step for m in far.history(run_id, "train/loss")] == [0, 1, 2, 3, 4]
        assert far.get(run_id).status == "FINISHED"
        assert far.download(run_id, "late.txt", home / "back").read_text() == "late"
    assert store.get(run_id).params == {"lr": "1"}
    assert capfd.readouterr().out == ""
