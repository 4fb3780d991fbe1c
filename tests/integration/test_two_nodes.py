"""Two nodes, both on this machine: what cannot work is refused, what is shared works, recorded by a real server."""

import json
import time

import psutil
import pytest
import yaml

from ray_heads import cluster, free_port
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def two_nodes():
    with cluster(cpus=1) as heads:
        heads.join(cpus=1)
        yield heads
    assert [process for process in heads.processes() if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def document(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"name": "two", "cluster": {"workers": 2}})))
    return tmp_path


def test_places_of_one_node_are_refused_before_anything_is_sent(two_nodes, document):
    done = two_nodes.command("side4video", "submit", "a.yaml", "--address", two_nodes.address, cwd=document)
    assert done.returncode == 2
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("error: cluster.storage: empty")
    assert "--set cluster.storage=/shared/runs" in first
    assert second.startswith("tracking.uri: none")
    listed = two_nodes.command("side4video", "jobs", "list", "--json", "--address", two_nodes.address, cwd=document)
    assert json.loads(listed.stdout) == []


@pytest.fixture
def server(two_nodes, document, monkeypatch):
    """An MLflow server that both nodes reach."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    host = _address_of_this_machine(two_nodes)
    store = MLflowStore(f"sqlite:///{document / 'mlflow.db'}")
    with TrackingServer(store, host=host, port=free_port(), artifacts=str(document / "artifacts")) as opened:
        yield opened


def test_a_run_over_both_nodes_is_recorded_by_the_server(two_nodes, document, server):
    words = ["side4video", "submit", "a.yaml", "--address", two_nodes.address, "--json"]
    words += ["--set", f"cluster.storage={document / 'runs'}"]
    done = two_nodes.command(*words, cwd=document, MLFLOW_TRACKING_URI=server.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"note: {document / 'runs'} is taken to be the same folder on all nodes" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["environment"]) == ("SUCCEEDED", ["MLFLOW_TRACKING_URI"])
    store = MLflowStore(server.address)
    (run,) = [each for each in store.prepare().runs() if each.name == "two"]
    assert run.status == "FINISHED"
    assert run.metrics["eval/videos"] == 20
    assert run.artifact_uri.startswith("mlflow-artifacts:")
    names = {path.name for path in store.download(run.run_id, "checkpoint", document / "back").rglob("*")}
    assert "weights.safetensors" in names
    assert list((document / "runs").rglob("weights.safetensors"))


def test_a_sweep_over_both_nodes_is_recorded_by_the_server(two_nodes, document, server):
    cluster = {"workers": 2, "storage": str(document / "runs")}
    (document / "base.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"seed": 51, "cluster": cluster})))
    sweep = {"name": "two-arms", "base": "base.yaml", "grid": {"optimization.learning_rate": [1e-3, 1e-4]}}
    (document / "s.yaml").write_text(yaml.safe_dump(sweep))
    words = ["side4video", "submit", "s.yaml", "--address", two_nodes.address, "--json"]
    done = two_nodes.command(*words, cwd=document, MLFLOW_TRACKING_URI=server.address)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["kind"], answer["state"], answer["exit_code"]) == ("sweep", "SUCCEEDED", 0)
    store = MLflowStore(server.address).prepare()
    arms = [run for run in store.runs() if run.params.get("seed") == "51"]
    assert [run.status for run in arms] == ["FINISHED"] * 2
    assert {run.params["cluster.workers"] for run in arms} == {"2"}
    for run in arms:
        steps = [metric.step for metric in store.history(run.run_id, "eval/top1")]
        assert steps == sorted(set(steps))
        assert len(steps) == DOCUMENT["optimization"]["length"]["epochs"]
        rows = store.download(run.run_id, "predictions.csv", document / run.run_id).read_text().splitlines()
        assert len(rows) == 1 + 20
    (parent,) = [run for run in store.runs() if run.name == "two-arms"]
    assert parent.status == "FINISHED"
    page = store.download(parent.run_id, "comparison.html", document / "parent").read_text()
    assert "<html" in page


def _address_of_this_machine(heads):
    from side4video.apps.jobs.client import JobCluster

    deadline = time.monotonic() + 60
    while len(nodes := JobCluster(heads.address).nodes()) < 2 and time.monotonic() < deadline:
        time.sleep(1)
    assert len(nodes) == 2
    assert sum(node.is_head for node in nodes) == 1
    assert [node.resources["CPU"] for node in nodes] == [1.0, 1.0]
    return nodes[0].address
