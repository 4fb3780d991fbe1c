"""Workers, a node, the driver and the tracking server are killed (SIGKILL) at random moments of a run on two nodes.

It ends with the weights and the stored values of the run that nobody disturbed: none missing, none twice.
"""

import json
import random
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

import ray_heads
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long]

STEPS_PER_EPOCH = 5
LIMIT_SECONDS = 240.0
"""Longest time from one checkpoint to the next, with all that it takes to begin again."""
MEASURED = ("eval/top1", "eval/loss", "best/top1", "train/loss", "train/learning_rate", "eval/epoch")
VICTIMS = ("worker", "node", "driver", "server")


class Run:
    """A run on a cluster of two nodes and a head, its driver, and the tracking server."""

    def __init__(self, heads, folder, name, *, epochs):
        self.heads, self.folder, self.name = heads, folder, name
        changes = {
            "name": name,
            "optimization": {"batch_size": 4, "length": {"epochs": epochs}},
            "cluster": {"workers": 2, "max_failures": 100, "storage": str(folder / "runs" / name)},
            "tracking": {"experiment": name},
        }
        self.file = folder / f"{name}.yaml"
        self.file.write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
        self.server = TrackingServer(
            MLflowStore(f"sqlite:///{folder}/server/mlflow.db").prepare(), port=ray_heads.free_port()
        )
        self.driver = None
        self.output = ""

    def start_driver(self):
        words = ["run", str(self.file), "--go-on", "--json", "--address", f"127.0.0.1:{self.heads.port}"]
        uri = ["--set", f"tracking.uri={self.server.address}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        command = [sys.executable, "-m", "side4video", *words, *uri]
        self.driver = subprocess.Popen(command, env=self.heads.environment, cwd=self.folder, **pipes)

    @property
    def newest_step(self):
        found = (self.folder / "runs" / self.name).glob("*/checkpoint_*/checkpoint.json")
        return max((int(file.parent.name.split("_")[1]) for file in found), default=0)

    def wait_for_progress(self):
        """Wait for a checkpoint, or for the end; whether it has ended."""
        before, deadline = self.newest_step, time.monotonic() + LIMIT_SECONDS
        while self.newest_step <= before:
            if self.driver.poll() is not None:
                return True
            assert time.monotonic() < deadline, "no step in a long time"
            time.sleep(0.1)
        return False

    def kill(self, victim):
        """Kill one of them, and do what whoever watches over a cluster does then; whether there was one."""
        return getattr(self, f"_kill_{victim}")()

    def _kill_worker(self):
        found = [each for each in self.heads.processes() if "RayTrainWorker" in words_of(each)]
        if not found:
            return False
        random.choice(found).kill()
        return True

    def _kill_node(self):
        raylets = [each for each in self.heads.processes() if "/raylet/raylet" in words_of(each)]
        newest = f"{self.heads.folder}-{self.heads.nodes}/"
        (victim,) = [each for each in raylets if newest in words_of(each)]
        victim.kill()
        self.heads.join(cpus=1)
        return True

    def _kill_driver(self):
        self.driver.kill()
        self.driver.communicate()
        self.start_driver()
        return True

    def _kill_server(self):
        root = psutil.Process(self.server.process_id)
        family = [root, *root.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=20)
        self.server.stop()
        time.sleep(random.random() * 3)
        self.server.start()
        return True

    def end(self):
        """Wait for the driver; one that went with its node is begun again, as any supervisor does."""
        for _ in range(4):
            self.output, _ = self.driver.communicate(timeout=LIMIT_SECONDS)
            if self.driver.returncode == 0:
                return
            self.start_driver()
        raise AssertionError(self.output)

    def record(self):
        """The weights at the end, what was measured, and the steps of every key."""
        # What was left when the tracking server was away at the end waits for the next command.
        delivery = f"MLflowStore({self.server.address!r}).prepare().flush()"
        deliver = f"from side4video.tracking.mlflow.store import MLflowStore; {delivery}"
        subprocess.run([sys.executable, "-c", deliver], env=self.heads.environment, check=True, timeout=LIMIT_SECONDS)
        store = MLflowStore(self.server.address, self.name).prepare()
        (run,) = store.runs()
        assert (run.status, run.tags["state"]) == ("FINISHED", "finished")
        weights = load_file(
            store.download(run.run_id, "checkpoint", self.folder / "weights" / self.name)
            / self.name
            / "weights.safetensors"
        )
        values = {key: [(each.step, each.value) for each in store.history(run.run_id, key)] for key in MEASURED}
        steps = {key: [each.step for each in store.history(run.run_id, key)] for key in run.metrics}
        return weights, values, steps


def words_of(process):
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "server").mkdir()
    return folder


@pytest.fixture(scope="module")
def heads(folder):
    before = {process.pid for process in psutil.process_iter()}
    home = {"SIDE4VIDEO_HOME": str(folder / "home"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "OMP_NUM_THREADS": "1"}
    with ray_heads.cluster(cpus=0, **home) as heads:
        heads.join(cpus=1)
        heads.join(cpus=1)
        yield heads
    left = [each for each in psutil.process_iter() if each.pid not in before and str(folder) in words_of(each)]
    assert left == []


def run_to_the_end(heads, folder, name, *, epochs, kills=0, seed=0, victims=VICTIMS):
    """A run that is disturbed so often; its record, and who was killed."""
    run, killed, chosen = Run(heads, folder, name, epochs=epochs), [], random.Random(seed)
    run.server.start()
    try:
        run.start_driver()
        while len(killed) < kills and not run.wait_for_progress():
            time.sleep(chosen.random() * 3)
            victim = victims[len(killed) % len(victims)] if kills <= len(victims) else chosen.choice(victims)
            if run.driver.poll() is None and run.kill(victim):
                killed.append((victim, run.newest_step))
                print("killed", *killed[-1], flush=True)  # noqa: T201 - what a long test is at
        run.end()
        return run.record(), killed
    finally:
        run.driver.kill()
        run.driver.communicate()
        run.server.stop()


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    assert [name for name, tensor in one[0].items() if not torch.equal(tensor, other[0][name])] == []
    assert one[1] == other[1]
    assert one[2] == other[2]
    assert all(len(set(steps)) == len(steps) for steps in one[2].values())


@pytest.mark.timeout(900)
def test_three_kills(heads, folder):
    undisturbed, _ = run_to_the_end(heads, folder, "undisturbed", epochs=16)
    assert undisturbed[2]["eval/top1"] == list(range(STEPS_PER_EPOCH - 1, 16 * STEPS_PER_EPOCH, STEPS_PER_EPOCH))
    disturbed, killed = run_to_the_end(
        heads, folder, "disturbed", epochs=16, kills=3, seed=1, victims=("node", "driver", "worker")
    )
    assert [victim for victim, _ in killed] == ["node", "driver", "worker"]
    assert_same(disturbed, undisturbed)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_twenty_kills(heads, folder):
    undisturbed, _ = run_to_the_end(heads, folder, "long-undisturbed", epochs=240)
    disturbed, killed = run_to_the_end(heads, folder, "long-disturbed", epochs=240, kills=20, seed=2)
    (folder / "killed.json").write_text(json.dumps(killed))
    assert len(killed) == 20
    assert {victim for victim, _ in killed} == set(VICTIMS)
    assert_same(disturbed, undisturbed)
