"""Whether a cluster grows, by what its autoscaler says of itself; and what is refused where it does not."""

import json
import socket
import threading
import time

import pytest

from side4video.core.errors import InputError
from side4video.distributed import cluster
from side4video.distributed.cluster import check_resources, has_node_types, max_resources
from side4video.distributed.cluster_address import check_address
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


def test_the_most_of_now_and_later():
    assert max_resources({"CPU": 8.0, "TPU": 1.0}, {"GPU": 4, "CPU": 32}) == {"CPU": 32, "GPU": 4, "TPU": 1.0}


SMALL = {"CPU": 8.0}
MOST = {"GPU": 4, "CPU": 32}


def test_more_than_there_is_waits_where_it_may_come(caplog):
    needed = ClusterSpec(workers=2, gpus_per_worker=1)
    with pytest.raises(InputError, match=r"cluster\.gpus_per_worker"):
        check_resources(needed, SMALL, {}, address="auto", can_scale_up=False)
    check_resources(needed, SMALL, {}, address="auto", can_scale_up=True)
    assert "waiting for machines to be added" in caplog.text


def test_more_than_there_can_ever_be_is_refused():
    check_resources(ClusterSpec(workers=4, gpus_per_worker=1), SMALL, MOST, address="auto", can_scale_up=True)
    with pytest.raises(InputError, match=r"cluster\.gpus_per_worker"):
        check_resources(ClusterSpec(workers=5, gpus_per_worker=1), SMALL, MOST, address="auto", can_scale_up=True)


def test_workers_wait_longer_for_machines(monkeypatch):
    assert float(cluster.NEW_NODE_SECONDS) >= 600


def test_a_ray_that_does_not_end_is_not_waited_for_without_end(monkeypatch, caplog):
    """Its thread may wait for something that never comes; the command ends, and Ray's processes with it."""
    release = threading.Event()
    monkeypatch.setattr(cluster, "LONGEST_END_SECONDS", 0.1)
    monkeypatch.setattr(cluster.RayCluster, "_hold", lambda self: release.wait(30))
    began = time.monotonic()
    with cluster.RayCluster("auto", ClusterSpec()) as ray:
        ray.start()
    assert time.monotonic() - began < 10
    assert "Ray did not end within" in caplog.text
    release.set()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("nosuch.invalid:6379", "no machine is known by the name nosuch.invalid"),
        ("ray://nosuch.invalid:10001", "no machine is known by the name nosuch.invalid"),
        ("127.0.0.1:9", "cannot connect: connection refused"),
        ("http://head:8265", "it is the address of a page"),
        ("head", "no host and port"),
        ("head:x", "no host and port"),
        ("head:99999", "no host and port"),
        ("", "no host and port"),
    ],
)
def test_an_address_where_nothing_answers_fails_at_once(address, found, monkeypatch):
    """Ray itself tried for minutes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("side4video.distributed.cluster_address._is_connected", lambda: False)
    place = cluster.RayCluster("local", ClusterSpec())
    place.address = address
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        place.start()
    assert str(caught.value).startswith(f"Ray at {address}: {found} · allowed: local, auto, HOST:PORT")
    assert " · fix: " in str(caught.value)
    assert time.monotonic() - began < 20


def test_an_address_where_something_answers_is_taken(monkeypatch):
    monkeypatch.setattr("side4video.distributed.cluster_address._is_connected", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "local", "auto"):
            check_address(address)
