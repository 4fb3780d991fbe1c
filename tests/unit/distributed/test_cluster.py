"""Whether a cluster grows, by what its autoscaler says of itself; and what is refused where it does not."""

import json
from types import SimpleNamespace

import pytest

from side4video.core.errors import InputError
from side4video.distributed import cluster
from side4video.distributed.cluster import RayCluster, has_node_types, max_resources
from side4video.spec.cluster import ClusterSpec


def status(**report):
    return json.dumps({"autoscaler_report": {"active_nodes": {}, **report}}).encode()


@pytest.mark.parametrize(
    ("said", "grows"),
    [
        (None, False),
        (b"no json", False),
        (b"{}", False),
        (status(active_nodes={"node_a1b2": 1}), False),
        (status(active_nodes={"head": 1}), True),
        (status(node_type_mapping={"10.0.0.1": "node_a1"}), False),
        (status(active_nodes=None, node_type_mapping={"10.0.0.1": "head"}), True),
    ],
)
def test_defined_kinds_of_machines_are_what_grows(said, grows):
    assert has_node_types(said) is grows


def ray(has, most=None):
    """Stands for a connected Ray."""
    state = SimpleNamespace(get_max_resources_from_cluster_config=lambda: most)
    private = SimpleNamespace(state=SimpleNamespace(state=state))
    return SimpleNamespace(cluster_resources=lambda: dict(has), _private=private)


def connected(monkeypatch, module, *, grows, needed):
    cluster = RayCluster("auto", needed)
    monkeypatch.setattr(cluster, "begin", lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "ray", module)
    cluster._ready.set()
    cluster._grows = grows
    return cluster.connected()


def test_more_than_there_is_waits_where_it_may_come(monkeypatch, caplog):
    needed = ClusterSpec(workers=2, gpus_per_worker=1)
    small = ray({"CPU": 8.0})
    with pytest.raises(InputError, match=r"cluster\.gpus_per_worker"):
        connected(monkeypatch, small, grows=False, needed=needed)
    assert connected(monkeypatch, small, grows=True, needed=needed) is small
    assert "waiting for machines to be added" in caplog.text


def test_more_than_there_can_ever_be_is_refused(monkeypatch):
    most = {"GPU": 4, "CPU": 32}
    assert max_resources(ray({"CPU": 8.0}, most)) == {"CPU": 32, "GPU": 4}
    needed = ClusterSpec(workers=4, gpus_per_worker=1)
    assert connected(monkeypatch, ray({"CPU": 8.0}, most), grows=True, needed=needed)
    with pytest.raises(InputError, match=r"cluster\.gpus_per_worker"):
        connected(monkeypatch, ray({"CPU": 8.0}, most), grows=True, needed=ClusterSpec(workers=5, gpus_per_worker=1))


def test_workers_wait_longer_for_machines(monkeypatch):
    assert float(cluster.MACHINE_SECONDS) >= 600
