"""Commands that are stopped at random moments: whether their records and weights differ, and what they leave behind.

    python benchmarks/kills.py [--kills 60] [--seed 0] [--on-ray-every 6]

Each case has a home of its own, which is empty at first, so the data and the store are made in it too. A run is begun,
gets SIGTERM or SIGKILL at a random moment of an undisturbed run's time, and every third one another signal when it goes
on. Then the same command runs to its end. Its record is compared with that of the undisturbed run: number and state of
runs, names and steps of all metrics, values of those that are not measured anew, tags, artifacts, weights. What is left
is counted: processes, temporary folders, queued writes, locks, shared memory. Every sixth case is on Ray. Writes
benchmarks/results/kills.json.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

import bench
from side4video.core.files import file_checksums
from side4video.tracking.mlflow.sqlite_file import sqlite_uri
from side4video.tracking.mlflow.store import MLflowStore

DOCUMENT: dict[str, Any] = {
    "name": "killed",
    "backbone": {"kind": "vit", "image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
    | {"weights": {"kind": "random", "seed": 0}, "precision": "fp32"},
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {"dataset": {"kind": "motion", "train_clips": 40, "test_clips": 20, "frames": 8, "size": 32}}
    | {"size": 32, "frames": 4, "decoder": "pyav", "loader": {"workers": 0}},
    "optimization": {"batch_size": 8, "length": {"epochs": 8}, "warmup": {"steps": 1}, "precision": "fp32"},
    "cluster": {"checkpoint_minutes": 0.01},
}
MEASURED_ANEW = ("time/", "system/", "memory/process", "memory/peak", "memory/reserved")
"""Metrics whose values differ from run to run; their names do not."""
OWN_TAGS = {"side4video.notes", "failure"}
"""Tags that say what happened."""
SECONDS = 900.0
_SETTLE_SECONDS = 60.0
"""Processes of Ray that lost their command end by themselves, on a busy machine only after a while."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="Number of signals.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on-ray-every", type=int, default=6, help="Every so-many-th case is on Ray; 0: none.")
    parser.add_argument("--go-on", action="store_true", help="Continue the stored result with further cases.")
    arguments = parser.parse_args()
    cases = stored_cases() if arguments.go_on else []
    with tempfile.TemporaryDirectory(prefix="k-") as place:
        folder = Path(place)
        (folder / "killed.yaml").write_text(yaml.safe_dump(DOCUMENT), encoding="utf-8")
        whole = {False: undisturbed(folder, on_ray=False)}
        if arguments.on_ray_every:
            whole[True] = undisturbed(folder, on_ray=True)
        while sum(len(case["signals"]) for case in cases) < arguments.kills:
            number = len(cases)
            on_ray = bool(arguments.on_ray_every) and number % arguments.on_ray_every == arguments.on_ray_every - 1
            draws = random.Random(f"{arguments.seed} {number}")  # noqa: S311 - moments, no secrets
            cases.append(disturbed(folder, number, draws, whole[on_ray], on_ray=on_ray))
            print(json.dumps(cases[-1]), flush=True)
            save(cases, arguments.seed)
    print(json.dumps({key: value for key, value in save(cases, arguments.seed).items() if key != "cases"}))


def stored_cases() -> list[dict[str, Any]]:
    """The cases of the stored result."""
    return json.loads(Path(bench.RESULTS, "kills.json").read_text(encoding="utf-8"))["cases"]


def save(cases: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Store the result so far: a machine may be needed for something else before the end."""
    counted = [each for case in cases for each in case["signals"]]
    record = {
        "command": f"python benchmarks/kills.py --kills {len(counted)} --seed {seed}",
        "signals": len(counted),
        "by_signal": {name: sum(each["signal"] == name for each in counted) for name in ("SIGTERM", "SIGKILL")},
        "cases_that_differ": sum(bool(case["differs"]) for case in cases),
        "cases_with_leftovers": sum(bool(case["left"]) for case in cases),
        "cases": cases,
    }
    bench.save("kills", record)
    return record


def undisturbed(folder: Path, *, on_ray: bool) -> dict[str, Any]:
    """Run to the end, on an empty home; its record and its seconds."""
    home = folder / ("ray" if on_ray else "local")
    began = time.monotonic()
    process = start(folder, home, on_ray=on_ray)
    _, error = process.communicate(timeout=SECONDS)
    if process.returncode:
        raise RuntimeError(error)
    return {**record_of(home), "seconds": time.monotonic() - began, "left": leftovers(home)}


def disturbed(
    folder: Path, number: int, draws: random.Random, whole: dict[str, Any], *, on_ray: bool
) -> dict[str, Any]:
    """A run with one or two signals, and what differs in the end."""
    home = folder / str(number)
    shared_before = shared_memory()
    signals = []
    for _ in range(2 if number % 3 == 2 else 1):
        name = draws.choice(["SIGTERM", "SIGKILL"])
        after = draws.uniform(0.1, 1.05) * whole["seconds"]
        process = start(folder, home, on_ray=on_ray)
        try:
            _, error = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(getattr(signal, name))
            _, error = process.communicate(timeout=SECONDS)
        ended = {"signal": name, "seconds": round(after, 2), "code": process.returncode, "last_line": last_line(error)}
        signals.append(ended)
    process = start(folder, home, on_ray=on_ray)
    _, error = process.communicate(timeout=SECONDS)
    differs = (
        [] if process.returncode == 0 else [f"the last command ended with {process.returncode}: {last_line(error)}"]
    )
    differs += [f"traceback after {each['signal']}" for each in signals if "Traceback" in each["last_line"]]
    differs += [
        f"SIGTERM ended with {each['code']}"
        for each in signals
        if each["signal"] == "SIGTERM" and each["code"] not in (0, 143, -signal.SIGTERM)
    ]
    if not differs:
        differs = differences(whole, record_of(home))
    left = [each for each in leftovers(home) if each not in whole["left"]]
    left += [f"shared memory: {name}" for name in sorted(shared_memory() - shared_before)]
    return {"case": number, "on_ray": on_ray, "signals": signals, "differs": differs, "left": left}


def start(folder: Path, home: Path, *, on_ray: bool) -> "subprocess.Popen[str]":
    """The command, with a home and a temporary folder of its own."""
    temporary = home.with_name(f"{home.name}.t")  # short: Ray's sockets are in it
    temporary.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment = {**kept, "SIDE4VIDEO_HOME": str(home), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "side4video", "run", str(folder / "killed.yaml"), "--json", "--go-on"]
    return subprocess.Popen(
        [*words, *([] if on_ray else ["--local"])],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def record_of(home: Path) -> dict[str, Any]:
    """What the store of a home says of its runs."""
    store = MLflowStore(sqlite_uri(home / "mlflow.db")).prepare()
    runs = store.runs()
    if len(runs) != 1:
        return {"runs": len(runs)}
    (run,) = runs
    series = {key: [(each.step, each.value) for each in store.history(run.run_id, key)] for key in run.metrics}
    artifacts = home / "artifacts" / run.run_id / "artifacts"
    sums = file_checksums(artifacts)
    return {
        "runs": 1,
        "status": run.status,
        "state": run.tags.get("state"),
        "steps": {key: [step for step, _ in each] for key, each in series.items()},
        "values": {key: each for key, each in series.items() if not key.startswith(MEASURED_ANEW)},
        "tags": sorted(run.tags.keys() - OWN_TAGS),
        "params": dict(run.params),
        "artifacts": sorted(sums),
        "weights": {name: each["sha256"] for name, each in sums.items() if name.endswith(".safetensors")},
        "predictions": {name: each["sha256"] for name, each in sums.items() if name.endswith(".csv")},
    }


def differences(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what differs between two records."""
    found = []
    for key, value in whole.items():
        if key in ("seconds", "left") or other.get(key) == value:
            continue
        if isinstance(value, dict):
            theirs = other.get(key, {})
            names = [name for name in value.keys() | theirs.keys() if value.get(name) != theirs.get(name)]
            found.append(f"{key}: {', '.join(sorted(names)[:6])}")
        else:
            found.append(f"{key}: {value!r} and {other.get(key)!r}"[:300])
    return found


def leftovers(home: Path) -> list[str]:
    """What is there a moment after the last command: processes, temporary folders, queued writes, locks."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (found := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.5)
    left = [f"process: {' '.join(command)[:120]}" for command in found]
    temporary = home.with_name(f"{home.name}.t")
    left += [f"temporary: {path.name}" for path in sorted(temporary.iterdir())]
    left += [f"queued: {path.name}" for path in sorted((home / "outbox").glob("*.jsonl"))]
    left += [f"lock: {path.relative_to(home)}" for path in sorted(home.rglob("in-use.lock"))]
    left += [f"half: {path.relative_to(home)}" for path in sorted(home.rglob("*.partial"))]
    left += [f"half: {path.relative_to(home)}" for path in sorted(home.glob(".*.new"))]
    return left


def processes_of(home: Path) -> list[list[str]]:
    """Commands of living processes that were started with a home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SIDE4VIDEO_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def shared_memory() -> set[str]:
    """Names of segments of shared memory."""
    place = Path("/dev/shm")  # noqa: S108 - looked at, not written
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def last_line(text: str) -> str:
    """The last line of a text that is not empty, or the word that a traceback is in it."""
    lines = [line for line in text.splitlines() if line.strip()]
    prefix = "Traceback: " if "Traceback" in text else ""
    return prefix + (lines[-1][:200] if lines else "")


if __name__ == "__main__":
    main()
