"""One local Ray cluster for all tests that do not end it; they come last, so that it runs beside no other test."""

import time

import psutil
import pytest

from side4video.distributed.cluster import RayCluster
from side4video.spec.cluster import ClusterSpec

FIXTURE = "cluster"


def uses_cluster(item):
    return FIXTURE in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=uses_cluster)


def pytest_itemcollected(item):
    """Who uses the cluster needs no mark of its own; a module with clusters of its own has one."""
    if uses_cluster(item):
        item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def cluster():
    """The module `ray`, connected to a cluster with two workers. Its processes end with it."""
    before = {process.pid for process in psutil.process_iter()}
    with RayCluster("local", ClusterSpec(workers=2)) as cluster:
        yield cluster.connected()
    # Ray's processes end on their own after the driver's; none may stay.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid not in before and any("ray" in word for word in process.info["cmdline"] or ())
        ]
        if not left:
            return
        time.sleep(1)
    raise AssertionError(f"processes left behind: {[process.info['cmdline'][:3] for process in left]}")
