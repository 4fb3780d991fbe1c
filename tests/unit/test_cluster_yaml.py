"""`cluster.yaml` and its like for machines that are there are what `ray up` takes, by Ray's own schema and checks; no
cloud is asked."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from side4video.tracking.redaction import redact_command

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "clusters"
LAUNCHED = {"aws": ROOT / "cluster.yaml", "local": CLUSTERS / "on-premise.yaml"}


def check(cluster: dict) -> dict:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    return prepared


@pytest.fixture(scope="module")
def cluster() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(params=LAUNCHED)
def launched(request) -> dict:
    document = yaml.safe_load(LAUNCHED[request.param].read_text())
    assert document["provider"]["type"] == request.param
    return document


def changed(document: dict, path: str, value) -> dict:
    """A copy with what stands at a dotted path changed."""
    result = copy.deepcopy(document)
    *above, last = path.split(".")
    place = result
    for key in above:
        place = place[key]
    place[last] = value
    return result


def starts(document: dict) -> list[str]:
    return [c for part in ("head", "worker") for c in document[f"{part}_start_ray_commands"] if "ray start" in c]


def test_ray_accepts_them(launched):
    assert check(launched)["cluster_name"] == "side4video"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("min_worker", 1),
        ("head_node_type", "absent"),
        ("max_workers", "many"),
        ("docker", {"image": "x", "shm": 1}),
        ("available_node_types.gpu.max_worker", 1),
        ("available_node_types.decoding.resources", {"decoding": 0.5}),
        ("available_node_types.gpu.min_workers", 9),
        ("available_node_types.gpu.node_config", None),
    ],
)
def test_ray_refuses_a_broken_one(cluster, path, value):
    with pytest.raises(Exception, match=r"."):
        check(changed(cluster, path, value))


@pytest.mark.parametrize(("path", "value"), [("provider.worker_ips", "192.0.2.11"), ("head_start_commands", [])])
def test_ray_refuses_broken_machines_that_are_there(path, value):
    document = yaml.safe_load(LAUNCHED["local"].read_text())
    with pytest.raises(Exception, match=r"."):
        check(changed(document, path, value))


def test_workers_come_with_the_work_and_cost_nothing_when_idle(cluster):
    workers = {name: each for name, each in cluster["available_node_types"].items() if name != "head"}
    assert workers.keys() == {"gpu", "decoding"}
    for each in workers.values():
        assert each["min_workers"] == 0
        assert each["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert sum(each["max_workers"] for each in workers.values()) <= cluster["max_workers"]
    assert workers["gpu"]["node_config"]["InstanceType"].startswith(("g", "p"))


def test_nodes_that_decode_have_the_resource_that_a_spec_names(cluster):
    from side4video.spec.cluster import DecodeOnNodesSpec

    has = {name: each["resources"] for name, each in cluster["available_node_types"].items()}
    assert has == {"head": {}, "decoding": {"decoding": 1}, "gpu": {}}
    assert DecodeOnNodesSpec(resource="decoding").resource in has["decoding"]


def test_nodes_install_the_pinned_versions_and_nothing_from_rays_defaults(launched):
    prepared = check(launched)
    assert prepared["setup_commands"] == launched["setup_commands"]
    assert any("-c constraints.txt" in command for command in prepared["setup_commands"])


@pytest.mark.parametrize(
    "file", [ROOT / "cluster.yaml", *sorted(CLUSTERS.glob("kuberay-*.yaml"))], ids=lambda f: f.name
)
def test_images_and_versions_have_the_pinned_ray(file):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line[:60])
    named = re.findall(r"(?:rayproject/ray:|rayVersion: )([0-9.]+[0-9])", file.read_text())
    # The job uses the image that the other file describes.
    assert named
    assert set(named) == {pins["ray"]}


def test_every_process_asks_for_the_token_and_every_node_gets_it(launched):
    assert len(starts(launched)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts(launched))
    assert any(path.endswith(".ray/auth_token") for path in launched["file_mounts"])


def test_nodes_know_the_mlflow_server_that_the_head_starts(launched):
    (server,) = [command for command in launched["head_start_ray_commands"] if "side4video services" in command]
    port = re.search(r"--port (\d+)", server)[1]
    shared = "/mnt/shared" if launched["provider"]["type"] == "aws" else "/shared"
    assert f"--artifacts {shared}/" in server
    (worker,) = [command for command in launched["worker_start_ray_commands"] if "ray start" in command]
    assert f"MLFLOW_TRACKING_URI=http://$RAY_HEAD_IP:{port}" in worker


def test_what_the_container_sees_is_what_the_machine_mounts(cluster):
    (mount,) = [command for command in cluster["initialization_commands"] if "mount -t nfs4" in command]
    folder = mount.split()[-1]
    assert f"-v {folder}:{folder}" in cluster["docker"]["run_options"]


def secrets_in(text: str) -> list[str]:
    """Lines that would lose something if secrets were hidden; what a shell, a file or a cluster fills in is none."""
    told = re.sub(r"\$\([^)]*\)|\$\{[^}]*\}|auth_token: ~/\S+|secretKeyRef: \{[^}]*\}", "FILLED", text)
    return [line for line in told.splitlines() if redact_command(line) != line and "FILLED" not in line]


FILES = [ROOT / "cluster.yaml", *sorted(CLUSTERS.iterdir())]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_secret_stands_in_a_file(file):
    assert len(FILES) == 5
    assert secrets_in(file.read_text()) == []


@pytest.mark.parametrize(
    "line", ["  DB_PASSWORD: hunter2", "uri: postgresql://me:hunter2@host/db", "export AWS_SECRET_ACCESS_KEY=abc"]
)
def test_a_secret_in_a_file_is_noticed(line):
    assert secrets_in(f"a: 1\n{line}\n") == [line]
