"""A Ray that one machine starts for itself is closed to the network while a run trains with two workers."""

import threading
from contextlib import contextmanager, suppress

import psutil
import pytest

from side4video.core.progress import SILENT
from side4video.distributed.trainer import launch_on_ray
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def listening():
    """(process, address) of all listening sockets of this process and those that it started."""
    found = set()
    whole = psutil.Process()
    for each in [whole, *whole.children(recursive=True)]:
        with suppress(psutil.Error):
            open_ports = each.net_connections("inet")
            found |= {(each.name(), port.laddr.ip) for port in open_ports if port.status == psutil.CONN_LISTEN}
    return found


@contextmanager
def watched():
    """All that listened at some time in the block."""
    found, over = set(), threading.Event()

    def watch():
        while not over.wait(0.2):
            found.update(listening())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def test_a_run_on_ray_listens_on_loopback_only(cluster):
    spec = tiny(name="private", cluster={"workers": 2}, tracking={"kind": "files"})
    with watched() as found:
        assert launch_on_ray({"tiny": spec}, progress=SILENT)["tiny"].run_id
    names = {name for name, _ in found}
    assert any("raylet" in name for name in names)
    assert any("RayTrainWorker" in name for name in names)
    assert {place for place in found if place[1] not in LOOPBACK} == set()
