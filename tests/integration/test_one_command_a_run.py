"""The same run by two commands, under another name, and after it is finished."""

import os
import re
import subprocess
import sys
import time

import pytest
import yaml

import sweeps
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def interrupt(message):
    if message["phase"] == "evaluated":
        raise KeyboardInterrupt


def interrupted(spec):
    with pytest.raises(KeyboardInterrupt):
        launch({spec.name: spec}, progress=MessageProgress(interrupt))


def spec_of(name="first", **changes):
    return tiny(name=name, optimization={"batch_size": 4, "length": {"epochs": 2}}, **changes)


def test_a_renamed_experiment_is_continued_under_its_own_name(home):
    interrupted(spec_of())
    renamed = launch({"second": spec_of("second")}, progress=SILENT, resume=True)["second"]
    (run,) = MLflowStore().prepare().runs()
    assert (run.run_id, run.status, run.name) == (renamed.run_id, "FINISHED", "first")
    assert any(note.startswith("went on from step") for note in renamed.notes)


def test_a_moved_home_is_continued_in_its_place(home, tmp_path, monkeypatch):
    interrupted(spec_of())
    home.rename(tmp_path / "moved")
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "moved"))
    finished = launch({"first": spec_of()}, progress=SILENT, resume=True)["first"]
    assert any(note.startswith("went on from step") for note in finished.notes)
    assert not home.exists()
    (run,) = MLflowStore().prepare().runs()
    assert run.tags["side4video.checkpoints"].startswith(f"{tmp_path}/moved/runs/")


def test_go_on_gives_the_finished_result_and_a_new_run_says_so(home):
    first = launch({"first": spec_of()}, progress=SILENT, go_on=True)["first"]
    again = launch({"first": spec_of()}, progress=SILENT, go_on=True)["first"]
    assert (again.run_id, again.metrics["eval/top1"]) == (first.run_id, first.metrics["eval/top1"])
    assert again.trainable_parameters == first.trainable_parameters
    assert again.time["step_s"] == first.time["step_s"]
    assert again.plan == first.plan
    assert again.notes[-1] == f"run {first.run_id[:8]} of this experiment is finished; nothing was trained"
    other = launch({"first": spec_of()}, progress=SILENT)["first"]
    assert other.run_id != first.run_id
    assert other.notes[-1].startswith(f"run {first.run_id[:8]} of this experiment was finished before; this is another")
    with pytest.raises(InputError, match=rf"run {other.run_id[:8]} of it is finished .* side4video evaluate"):
        launch({"first": spec_of()}, progress=SILENT, resume=True)


def test_a_failed_start_leaves_no_folder(home):
    with pytest.raises(InputError, match="batch_size"):
        launch({"first": tiny(optimization={"batch_size": 50_000})}, progress=SILENT, go_on=True)
    assert not list((home / "runs").glob("*"))
    assert not list((home / "locks").glob("*"))


LONG = merged(DOCUMENT, {"optimization": {"batch_size": 4, "length": {"epochs": 400}}, "seed": 3})


def command(home, *words):
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**kept, "SIDE4VIDEO_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "side4video", *words], env=environment, **pipes)


def wait_for_training(home, process):
    deadline = time.monotonic() + 120
    while not list((home / "runs").rglob("checkpoint.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize(
    "kind",
    ["run --go-on", *(pytest.param(each, marks=pytest.mark.long) for each in ("run --resume", "sweep"))],
)
def test_the_second_command_is_told_who_is_at_it(home, tmp_path, kind):
    if kind == "sweep":
        file = sweeps.as_yaml(tmp_path / "s.yaml", sweeps.document("twice", {"optimization": LONG["optimization"]}))
        words = ["sweep", str(file), "--local"]
        first_words = words
    else:
        file = tmp_path / "long.yaml"
        file.write_text(yaml.safe_dump(LONG))
        words = ["run", str(file), "--local", kind.split()[1]]
        first_words = words[:3]
    first = command(home, *first_words)
    try:
        wait_for_training(home, first)
        second = command(home, *words)
        out, error = second.communicate(timeout=120)
    finally:
        first.kill()
        first.communicate()
    assert (second.returncode, out) == (2, "")
    line = error.splitlines()[-1]
    assert re.match(rf"error: .*process {first.pid} on \S+ works on it since \d\d:\d\d:\d\d", line), error
    assert "Traceback" not in error
