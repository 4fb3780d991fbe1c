"""`cluster.yaml` is what `ray up` takes, by Ray's own schema and checks; no cloud is asked."""

import copy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def check(cluster: dict) -> dict:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    return prepared


@pytest.fixture(scope="module")
def cluster() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_it(cluster):
    prepared = check(cluster)
    assert prepared["head_node_type"] == "head"


@pytest.mark.parametrize(
    "change",
    [
        {"min_worker": 1},
        {"head_node_type": "absent"},
        {"max_workers": "many"},
        {"docker": {"image": "x", "shm": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_ray_refuses_a_broken_one(cluster, change):
    with pytest.raises(Exception, match=r"."):
        check({**cluster, **change})


def test_gpu_workers_are_there_and_cost_nothing_when_idle(cluster):
    gpu = cluster["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0
    assert gpu["max_workers"] <= cluster["max_workers"]
    assert gpu["node_config"]["InstanceType"].startswith(("g", "p"))


def test_nodes_install_the_pinned_versions_and_nothing_from_rays_defaults(cluster):
    prepared = check(cluster)
    assert prepared["setup_commands"] == cluster["setup_commands"]
    assert any("-c constraints.txt" in command for command in prepared["setup_commands"])


def test_the_image_has_the_pinned_ray(cluster):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line[:60])
    assert f":{pins['ray']}-" in cluster["docker"]["image"]


def test_every_process_asks_for_the_token_and_every_node_gets_it(cluster):
    starts = [c for part in ("head", "worker") for c in cluster[f"{part}_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert any(path.endswith(".ray/auth_token") for path in cluster["file_mounts"])
