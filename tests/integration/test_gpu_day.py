"""The measurements of a GPU day, rehearsed on a CPU without Ray, MLflow and decoders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "mlflow", "decord", "av", "optuna"}:
            raise ModuleNotFoundError(f"{name} is not on this machine")

sys.meta_path.insert(0, Blocked())
"""


def rehearse(folder, *options):
    """The command on a machine without the packages that it must not need; its exit code, its record and its page."""
    bare = folder / "bare"
    bare.mkdir(exist_ok=True)
    (bare / "sitecustomize.py").write_text(BLOCKED)
    command = [sys.executable, "benchmarks/gpu_day.py", "--device", "cpu", "--quick", "--out", str(folder / "out")]
    environment = {**os.environ, "PYTHONPATH": str(bare), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    record = json.loads((folder / "out/gpu-day-cpu-quick.json").read_text())
    return done, {part["name"]: part for part in record["parts"]}, (folder / "out/gpu-day-cpu-quick.txt").read_text()


@pytest.mark.long
def test_every_part_works_on_a_bare_machine(tmp_path):
    done, parts, page = rehearse(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    states = {name: part["state"] for name, part in parts.items()}
    assert states.pop("tests") == "needs a GPU"
    assert set(states.values()) == {"passed"}, page
    assert parts["memory"]["records"] == ["memory-cpu-side4video-6-x-192.json"]
    rows = json.loads((tmp_path / "out/memory-cpu-side4video-6-x-192.json").read_text())["rows"]
    assert all(row["small_held_bytes"] == row["small_planned_held_bytes"] for row in rows)
    assert "passed       speed" in page


def test_a_day_that_is_too_short_keeps_what_it_had(tmp_path):
    done, parts, page = rehearse(tmp_path, "--minutes", "0.0001", "--only", "transfer", "eight-bit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert parts["transfer"]["state"] in ("cut off", "no time left")
    assert parts["eight-bit"]["state"] == "no time left"
    assert "no time left eight-bit" in page


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/einops.py").write_text("raise RuntimeError('broken on purpose')\n")
    done, parts, page = rehearse(tmp_path, "--only", "packs", "transfer")
    assert done.returncode == 1
    assert parts["packs"]["state"] == "failed"
    assert "broken on purpose" in page
    assert parts.keys() == {"packs", "transfer"}
