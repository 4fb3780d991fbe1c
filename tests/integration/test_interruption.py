"""The command is asked to stop, killed, or hangs: what its record says, and that it goes on exactly."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

import sweeps
from side4video.core.progress import SILENT, MessageProgress
from side4video.distributed.storage import SNAPSHOT
from side4video.distributed.trainer import launch_on_ray
from side4video.engine.checkpoint import checkpoints_in
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import NOTES_TAG
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

LONG = merged(DOCUMENT, {"optimization": {"batch_size": 4, "length": {"epochs": 12}}, "seed": 31})
"""Sixty steps in twelve epochs."""
LONG_ENOUGH = 200.0
MEASURED = ("eval/top1", "eval/loss", "best/top1", "train/loss", "train/learning_rate", "eval/epoch")


def environment(home, **more):
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return {**kept, "SIDE4VIDEO_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def start(file, home, *options, **more):
    command = [sys.executable, "-m", "side4video", "run", str(file), "--json", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(home, **more), **pipes)


def checkpoints_of(home):
    return set((home / "runs").glob("*/checkpoint*/checkpoint.json"))


def wait_for_checkpoints(home, count, process, before=frozenset()):
    deadline = time.monotonic() + LONG_ENOUGH
    while time.monotonic() < deadline:
        if len(checkpoints_of(home) - before) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no checkpoint came")


def store_of(home):
    return MLflowStore(f"sqlite:///{home / 'mlflow.db'}").prepare()


def the_run(home):
    (run,) = store_of(home).runs()
    return run


def histories(home, run_id):
    store = store_of(home)
    values = {key: [(each.step, each.value) for each in store.history(run_id, key)] for key in MEASURED}
    every = {key: [each.step for each in store.history(run_id, key)] for key in store.get(run_id).metrics}
    assert all(len(set(steps)) == len(steps) for steps in every.values())
    return values, every


def weights(home, run_id, folder):
    place = store_of(home).download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("spec") / "spec.yaml"
    file.write_text(yaml.safe_dump(LONG))
    return file


@pytest.fixture(scope="module")
def undisturbed(file, tmp_path_factory):
    home = tmp_path_factory.mktemp("undisturbed")
    process = start(file, home, "--local")
    out, error = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 0, error
    return home, json.loads(out)["run_id"]


def assert_same(home, undisturbed, folder):
    whole, whole_id = undisturbed
    run_id = the_run(home).run_id
    one, other = weights(home, run_id, folder / "one"), weights(whole, whole_id, folder / "other")
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert histories(home, run_id) == histories(whole, whole_id)


def test_told_to_end_it_saves_leaves_and_the_same_command_goes_on(file, undisturbed, tmp_path):
    home = tmp_path / "home"
    for _ in range(2):
        before = checkpoints_of(home)
        process = start(file, home, "--local", "--go-on")
        wait_for_checkpoints(home, 1, process, before)
        time.sleep(random.random() * 0.3)
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=LONG_ENOUGH)
        if process.returncode == 0:
            break
        assert (process.returncode, out) == (143, "")
        line = error.splitlines()[-1]
        assert line.startswith("interrupted: the run was asked to stop (SIGTERM) and stopped after step ")
        run = the_run(home)
        assert (run.status, run.tags["state"]) == ("KILLED", "interrupted")
        assert "interrupted after step" in run.tags[NOTES_TAG]
    process = start(file, home, "--local", "--go-on")
    out, error = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 0, error
    assert the_run(home).status == "FINISHED"
    assert_same(home, undisturbed, tmp_path)


def test_killed_at_any_moment_and_its_newest_checkpoint_damaged_it_goes_on(file, undisturbed, tmp_path):
    home = tmp_path / "home"
    process = start(file, home, "--local")
    wait_for_checkpoints(home, 2, process)
    process.kill()
    process.communicate()
    newest, before = checkpoints_in(next((home / "runs").iterdir()))
    torn = newest / "tiny" / "optimizer.safetensors"
    torn.write_bytes(torn.read_bytes()[:-5])
    process = start(file, home, "--local", "--resume")
    _, error = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 0, error
    notes = the_run(home).tags[NOTES_TAG]
    assert "optimizer.safetensors has" in notes
    assert newest.name in notes
    assert before.name not in notes
    assert_same(home, undisturbed, tmp_path)


@pytest.mark.long
def test_with_no_whole_checkpoint_it_says_which_files_are_wrong(file, tmp_path):
    home = tmp_path / "home"
    process = start(file, home, "--local")
    wait_for_checkpoints(home, 2, process)
    process.kill()
    process.communicate()
    for folder in checkpoints_in(next((home / "runs").iterdir())):
        (folder / "tiny" / "weights.safetensors").unlink()
    process = start(file, home, "--local", "--resume")
    _, error = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 2
    line = error.splitlines()[-1]
    assert line.startswith("error: checkpoint: none is whole: ")
    assert line.count("weights.safetensors is missing") == 2


def test_a_sweep_that_is_told_to_end_goes_on_by_the_same_command(tmp_path):
    home = tmp_path / "home"
    optimization = {"batch_size": 4, "length": {"epochs": 30}}
    sweep = sweeps.as_yaml(tmp_path / "sweep.yaml", sweeps.document("told", {"optimization": optimization}))
    command = [sys.executable, "-m", "side4video", "sweep", str(sweep), "--local", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment(home), **pipes)
    deadline = time.monotonic() + LONG_ENOUGH
    while not list((home / "runs").glob("*/*/checkpoint*/checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=LONG_ENOUGH)
    assert (process.returncode, out) == (143, ""), error
    assert {run.tags["state"] for run in store_of(home).runs() if "side4video.pack" in run.tags} == {"interrupted"}
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=LONG_ENOUGH)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]
    runs = [run for run in store_of(home).runs() if "side4video.pack" in run.tags]
    assert len(runs) == 4
    assert all("interrupted after step" in run.tags[NOTES_TAG] for run in runs)


HANGING = """
import sys, time
import side4video.engine.loop as loop
from side4video.cli.main import main
step = loop.train_step
def hanging(pack, parts, *, step: int, **others):
    if step == 7:
        time.sleep(300)
    return train(pack, parts, step=step, **others)
train, loop.train_step = loop.train_step, hanging
sys.argv = ["side4video", *sys.argv[1:]]
main()
"""


def test_a_run_that_hangs_ends_with_one_line(file, tmp_path):
    home = tmp_path / "home"
    options = ["--local", "--set", "cluster.step_timeout_minutes=0.05"]
    command = [sys.executable, "-c", HANGING, "run", str(file), *options]
    process = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=LONG_ENOUGH)
    assert process.returncode == 70
    assert "error: no step, evaluation batch or message for 0.05 min" in process.stderr
    assert "in hanging" in process.stderr
    assert the_run(home).status == "FAILED"


# ---- on Ray


def workers_of_ray():
    """Processes of Ray's training workers on this machine that this one has begun."""
    family = psutil.Process().children(recursive=True)
    return [process for process in family if "RayTrainWorker" in " ".join(_command(process))]


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def ray_spec(name, **cluster):
    from tiny import tiny

    return tiny(
        name=name,
        method={"kind": "side4video", "layers": 2, "dim": 64},
        cluster={"workers": 2, **cluster},
        tracking={"experiment": name},
        optimization={"batch_size": 4, "length": {"epochs": 8}},
    )


class Disturber:
    """Does something once, when a run has come so far."""

    def __init__(self, step, deed):
        self.step, self.deed, self.done = step, deed, False

    def __call__(self, message):
        if not self.done and message["phase"] == "training" and message.get("done", 0) >= self.step:
            self.done = True
            self.deed()


def compare(one, other, folder):
    store = MLflowStore().prepare()
    states = []
    for number, finished in enumerate((one, other)):
        place = store.download(finished.run_id, "checkpoint", folder / str(number))
        states.append(load_file(next(place.glob("*/weights.safetensors"))))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    for key in MEASURED:
        values = [[(each.step, each.value) for each in store.history(run.run_id, key)] for run in (one, other)]
        assert values[0] == values[1], key


@pytest.fixture(scope="module")
def undisturbed_on_ray(cluster):
    return launch_on_ray({"tiny": ray_spec("undisturbed")}, progress=SILENT)["tiny"]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.long)], ids=["told", "killed"]
)
def test_a_worker_is_told_to_end_or_killed(number, cluster, undisturbed_on_ray, tmp_path):
    def deed():
        workers_of_ray()[1].send_signal(number)

    disturber = Disturber(12, deed)
    done = launch_on_ray(
        {"tiny": ray_spec(f"worker-{number.name}", max_failures=1)}, progress=MessageProgress(disturber)
    )["tiny"]
    assert disturber.done
    went_on = [note for note in done.notes if note.startswith("went on from step")]
    assert len(went_on) == 1
    if number == signal.SIGTERM:
        assert any("a worker was asked to stop" in note for note in done.notes)
        assert int(went_on[0].split()[-1]) >= 12
    compare(done, undisturbed_on_ray, tmp_path)


@pytest.mark.long
def test_the_newest_checkpoint_is_damaged_when_a_worker_dies(cluster, undisturbed_on_ray, tmp_path):
    place = tmp_path / "runs"

    def deed():
        (run,) = place.iterdir()
        for worker in workers_of_ray():
            worker.send_signal(signal.SIGSTOP)
        time.sleep(2)  # what was reported is in Ray's list then
        listed = json.loads((run / SNAPSHOT).read_text())["latest_checkpoint_result"]
        newest = run / listed["checkpoint_dir_name"]
        (newest / "tiny" / "weights.safetensors").write_bytes(b"torn")
        for worker in workers_of_ray():
            worker.kill()

    spec = ray_spec("damaged", max_failures=1, storage=str(place))
    done = launch_on_ray({"tiny": spec}, progress=MessageProgress(Disturber(22, deed)))["tiny"]
    assert any("weights.safetensors has 4 bytes" in note for note in done.notes)
    compare(done, undisturbed_on_ray, tmp_path)


@pytest.mark.long
def test_a_worker_that_hangs_is_ended_and_begun_again(cluster, undisturbed_on_ray, tmp_path):
    """Stopped, a process cannot even watch itself; the other one waits for it, and says where."""

    def deed():
        workers_of_ray()[1].send_signal(signal.SIGSTOP)

    spec = ray_spec("hanging", max_failures=1, step_timeout_minutes=0.15)
    done = launch_on_ray({"tiny": spec}, progress=MessageProgress(Disturber(12, deed)))["tiny"]
    compare(done, undisturbed_on_ray, tmp_path)


@pytest.fixture(scope="module")
def spec_on_ray(tmp_path_factory):
    file = tmp_path_factory.mktemp("spec") / "ray.yaml"
    file.write_text(yaml.safe_dump({**LONG, "cluster": {"workers": 2}}))
    return file


@pytest.mark.long
def test_the_driver_is_told_to_end(spec_on_ray, tmp_path):
    home = tmp_path / "home"
    process = start(spec_on_ray, home)
    wait_for_checkpoints(home, 2, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=LONG_ENOUGH)
    assert (process.returncode, out) == (143, ""), error
    assert the_run(home).tags["state"] == "interrupted"
    assert "the run was asked to stop" in the_run(home).tags[NOTES_TAG]
    before = checkpoints_of(home)
    process = start(spec_on_ray, home, "--go-on")
    wait_for_checkpoints(home, 1, process, before)
    family += psutil.Process(process.pid).children(recursive=True)
    out, error = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 0, error
    run = the_run(home)
    assert run.status == "FINISHED"
    _, every = histories(home, run.run_id)
    assert every["eval/top1"] == list(range(4, 60, 5))
    _, left = psutil.wait_procs(family, timeout=60)
    assert [" ".join(_command(each))[:90] for each in left] == []
