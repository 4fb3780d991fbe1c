"""`side4video services`: an MLflow server that other machines send their runs to, and only by names it knows."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from side4video.apps.mlflow_ui.services import services
from side4video.core.errors import InputError
from side4video.core.network import is_localhost, names_here
from side4video.tracking.mlflow.server import TrackingServer, _host_settings
from side4video.tracking.mlflow.store import MLflowStore

SERVICES = [sys.executable, "-c", "from side4video.apps.mlflow_ui.services import services; services()"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(address, path, **headers):
    """What a call gets, without a proxy; the header `Host` says by which name it came."""
    request = urllib.request.Request(f"{address}{path}", b"{}", {"Content-Type": "application/json", **headers})  # noqa: S310
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


SEARCH = "/ajax-api/2.0/mlflow/experiments/search"


@pytest.mark.slow
def test_runs_of_another_machine_come_here_with_their_artifacts(home, tmp_path, monkeypatch):
    port = free_port()
    server = subprocess.Popen(
        [*SERVICES, "--port", str(port), "--allowed-host", "mlflow.lab.example", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        assert server.stdout.readline() == f"MLflow: {address}  (stop it with Ctrl-C)\n"
        assert server.stdout.readline() == f"For runs:  export MLFLOW_TRACKING_URI={address}\n"
        assert "--host 0.0.0.0 opens it" in server.stdout.readline()
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        listening = [c.laddr.ip for each in family for c in each.net_connections() if c.status == "LISTEN"]
        assert set(listening) == {"127.0.0.1"}

        # Another machine: it has a home of its own, and knows nothing but the address.
        monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "far"))
        far = MLflowStore(address)
        run_id = far.start_run(name="far", key="k", params={"lr": 1})
        far.log_text(run_id, "hello", "a.txt")
        far.finish(run_id)
        assert far.get(run_id).artifact_uri.startswith("mlflow-artifacts:")
        assert far.download(run_id, "a.txt", tmp_path / "back").read_text() == "hello"
        kept = list((home / "services" / "artifacts").rglob("a.txt"))
        assert [file.read_text() for file in kept] == ["hello"]
        assert (home / "services" / "mlflow.db").is_file()
        assert not list((tmp_path / "far").rglob("a.txt"))

        assert status(address, SEARCH) != 403
        assert status(address, SEARCH, Host="evil.example") == 403
        assert status(address, SEARCH, Host=f"mlflow.lab.example:{port}") != 403
        assert status(address, SEARCH, Origin="http://evil.example") == 403
        assert status(address, SEARCH, Origin=f"http://mlflow.lab.example:{port}") != 403
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
        assert server.returncode == 0
        assert errors.splitlines() == ["Starting MLflow …", "MLflow ended."]
        assert [member for member in family if member.is_running()] == []
    finally:
        server.kill()
        server.communicate()


def test_a_database_of_runs_that_lie_here_is_refused(store, home):
    store.start_run(name="local", key="k")
    with pytest.raises(InputError, match=r"^--database: the experiment `side4video` .* fix: choose another database"):
        TrackingServer(store, port=free_port(), artifacts=str(home / "artifacts")).start()


def test_a_database_without_runs_is_taken_and_nothing_made_in_it(store):
    TrackingServer(store, artifacts="s3://bucket/mlflow")._check_no_local_artifacts()
    assert store.artifact_locations() == {}


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host"])
def test_a_server_is_no_database(home, uri):
    result = CliRunner().invoke(services, ["--database", uri])
    assert isinstance(result.exception, InputError)
    assert "--database" in str(result.exception)


def test_a_database_may_come_from_the_environment(home, monkeypatch):
    asked = {}

    def start(server):
        asked.update(uri=server.store.uri, artifacts=server.artifacts)
        raise InputError("stop", "here")

    monkeypatch.setattr(TrackingServer, "start", start)
    CliRunner().invoke(services, [], env={"MLFLOW_BACKEND_STORE_URI": "postgresql://me:hunter2@db/mlflow"})
    assert asked == {"uri": "postgresql://me:hunter2@db/mlflow", "artifacts": str(home / "services" / "artifacts")}
    CliRunner().invoke(services, [], env={"MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/x"})
    assert asked == {"uri": f"sqlite:///{home / 'services' / 'mlflow.db'}", "artifacts": "s3://bucket/x"}


def test_opening_it_warns(home, monkeypatch):
    def start(_):
        raise InputError("stop", "here")

    monkeypatch.setattr(TrackingServer, "start", start)
    assert "does not ask for a login" in CliRunner().invoke(services, ["--host", "0.0.0.0"]).stderr  # noqa: S104
    assert "login" not in CliRunner().invoke(services, []).stderr


def test_names_that_are_admitted_come_beside_mlflows_own():
    assert _host_settings(5000, []) == {}
    settings = _host_settings(5000, ["mlflow.lab"])
    hosts = settings["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow.lab", "mlflow.lab:*", "localhost", "10.*"} <= set(hosts)
    assert "*" not in hosts
    assert settings["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "http://mlflow.lab:5000,https://mlflow.lab"


def test_this_machines_names_are_reachable_ones():
    assert socket.gethostname() in names_here()
    assert not any(is_localhost(name) for name in names_here() if name != socket.gethostname())


def test_make_starts_it():
    makefile = (Path(__file__).resolve().parents[4] / "Makefile").read_text()
    assert "\nservices: .venv/.installed\n\t@$(BIN)/side4video services $(ARGS)\n" in makefile
