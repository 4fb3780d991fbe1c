"""Ray clusters of a test's own, on free ports; ended by their processes' ids, because `ray stop` would end every Ray on
the machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def environment(**more):
    """What Ray and the commands are started with."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }


class Heads:
    """A head, and the nodes that joined it."""

    def __init__(self, folder, **variables):
        self.folder, self.environment = folder, environment(**variables)
        self.port, self.dashboard, self.nodes = free_port(), free_port(), 1
        self.address = f"http://127.0.0.1:{self.dashboard}"

    def start(self, *words, cpus=2):
        """Start the head, and wait for somebody who takes jobs."""
        self._start("--head", "--port", str(self.port), "--dashboard-port", str(self.dashboard), *words, cpus=cpus)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.address}/api/version", timeout=5) as answer:  # noqa: S310 - loopback
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError:  # it wants a token
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the head does not answer")

    def start_growing(self, *, cpus=1, most=2, worker_cpus=2):
        """Start a head whose autoscaler adds nodes on this machine; needs RAY_FAKE_CLUSTER=1 in the environment."""
        from ray._private.services import get_node_ip_address

        self.gcs = f"{get_node_ip_address()}:{self.port}"
        kinds = {
            "ray.head.default": {"resources": {"CPU": cpus}, "node_config": {}, "max_workers": 0},
            "more": {
                "resources": {"CPU": worker_cpus, "object_store_memory": 200 * 1024**2},
                "node_config": {},
                "max_workers": most,
            },
        }
        lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
        lists += ("head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter")
        config = {
            **{name: [] for name in (*lists, "cluster_synced_files")},
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            "cluster_name": "growing",
            "provider": {"type": "fake_multinode", "gcs_address": self.gcs, "disable_node_updaters": True},
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            "max_workers": most,
            "idle_timeout_minutes": 5,
            "upscaling_speed": 1,
            "file_mounts_sync_continuously": False,
        }
        file = Path(self.folder) / "growing.json"
        file.write_text(json.dumps(config))
        self.start("--autoscaling-config", str(file), cpus=cpus)

    def join(self, *words, cpus=1):
        """Start another node of the cluster on this machine.

        It has a folder of its own: in a shared one each node clears away the working folders of the other's jobs.
        """
        self.nodes += 1
        words = ("--address", f"127.0.0.1:{self.port}", "--temp-dir", f"{self.folder}-{self.nodes}", *words)
        self._start(*words, cpus=cpus)

    def _start(self, *words, cpus):
        command = [BIN / "ray", "start", *words, "--num-cpus", str(cpus), "--object-store-memory", str(200 * 1024**2)]
        if "--head" in words:
            command += ["--dashboard-host", "127.0.0.1", "--temp-dir", self.folder]
        # Other Rays and other nodes on this machine hold the agent's usual ports.
        command += ["--dashboard-agent-listen-port", str(free_port())]
        done = subprocess.run(command, env=self.environment, timeout=120, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def command(self, *words, cwd, timeout=300, **variables):
        """Run a command of this environment, such as `side4video`."""
        return subprocess.run(
            [BIN / words[0], *words[1:]],
            env={**self.environment, **variables},
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
        )

    def processes(self):
        """All that belong to this cluster: each names the session's folder or the head's port, or is a child of one."""
        marks = (self.folder, f":{self.port}", f"--port={self.port}")
        found = {}
        for process in psutil.process_iter(["cmdline"]):
            if any(mark in word for word in process.info["cmdline"] or () for mark in marks):
                found[process.pid] = process
                for child in _children(process):
                    found[child.pid] = child
        found.pop(os.getpid(), None)
        return list(found.values())

    def end(self):
        """End them, the children of those that ended too."""
        for _ in range(3):
            ending = self.processes()
            for process in ending:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(ending, timeout=20)
            if not ending:
                break


def _children(process):
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@contextmanager
def cluster(*, cpus=2, **variables):
    """A head of a test's own, ended with all that it started."""
    with heads_of_ones_own(**variables) as heads:
        heads.start(cpus=cpus)
        yield heads


@contextmanager
def heads_of_ones_own(**variables):
    """A head that is not started yet, ended with all that it started."""
    # Ray's socket paths must stay short.
    folder = tempfile.mkdtemp(prefix="s4v-", dir="/tmp")
    heads = Heads(folder, **variables)
    try:
        yield heads
    finally:
        heads.end()
        for used in Path("/tmp").glob(f"{Path(folder).name}*"):
            shutil.rmtree(used, ignore_errors=True)
