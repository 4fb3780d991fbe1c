"""A search on an endless pass that is killed at random moments: whether its table differs from the undisturbed one.

    python benchmarks/search_kills.py [--kills 20] [--seed 0] [--on-ray-every 5]

Optuna proposes arms, successive halving pauses and promotes them, three have seats. The command gets SIGTERM or SIGKILL
at a random moment of an undisturbed search's time, and is started again, until it ends. Compared are, for each arm: its
state, the epochs of the pass that it saw, all metrics that are not measured anew, weights and predictions; that no arm
has two runs; and what is left behind. Every fifth case is on Ray. Writes benchmarks/results/search-kills.json.
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

import yaml

import bench
import kills
from side4video.core.files import file_checksums
from side4video.runs.endless_pass import records_of
from side4video.tracking.mlflow.sqlite_file import sqlite_uri
from side4video.tracking.mlflow.store import MLflowStore

BASE = {
    **kills.DOCUMENT,
    "optimization": {**kills.DOCUMENT["optimization"], "length": {"epochs": 4}},
    "cluster": {"workers": 1, "checkpoint_minutes": 0.01},
}
SWEEP = {
    "name": "killed-search",
    "base": BASE,
    "optuna": {
        "arms": 8,
        "startup": 3,
        "space": {
            "method.dim": {"kind": "choice", "values": [64, 128]},
            "optimization.learning_rate": {"kind": "log-uniform", "low": 1e-4, "high": 1e-2},
        },
    },
    "scheduler": {"kind": "asha", "grace_epochs": 1, "reduction": 2},
    "packing": {"seats": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="Number of signals.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on-ray-every", type=int, default=5, help="Every so-many-th case is on Ray; 0: none.")
    arguments = parser.parse_args()
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="k-") as place:
        folder = Path(place)
        (folder / "search.yaml").write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
        whole = {False: undisturbed(folder, on_ray=False)}
        if arguments.on_ray_every:
            whole[True] = undisturbed(folder, on_ray=True)
        while sum(len(case["signals"]) for case in cases) < arguments.kills:
            number = len(cases)
            on_ray = bool(arguments.on_ray_every) and number % arguments.on_ray_every == arguments.on_ray_every - 1
            draws = random.Random(f"{arguments.seed} {number}")  # noqa: S311 - moments, no secrets
            cases.append(disturbed(folder, number, draws, whole[on_ray], on_ray=on_ray))
            print(json.dumps(cases[-1]), flush=True)
            counted = [each for case in cases for each in case["signals"]]
            record = {
                "command": f"python benchmarks/search_kills.py --kills {len(counted)} --seed {arguments.seed}",
                "signals": len(counted),
                "by_signal": {name: sum(each["signal"] == name for each in counted) for name in ("SIGTERM", "SIGKILL")},
                "local_equals_ray": whole.get(True, whole[False])["arms"] == whole[False]["arms"],
                "cases_that_differ": sum(bool(case["differs"]) for case in cases),
                "cases": cases,
            }
            bench.save("search-kills", record)


def undisturbed(folder: Path, *, on_ray: bool) -> dict[str, Any]:
    """Search to the end, on an empty home."""
    home, began = folder / ("ray" if on_ray else "local"), time.monotonic()
    process = start(folder, home, on_ray=on_ray)
    _, error = process.communicate(timeout=kills.SECONDS)
    if process.returncode:
        raise RuntimeError(error)
    return {**record_of(home), "seconds": time.monotonic() - began}


def disturbed(
    folder: Path, number: int, draws: random.Random, whole: dict[str, Any], *, on_ray: bool
) -> dict[str, Any]:
    """A search with one or two signals, and what differs in the end."""
    home, signals = folder / str(number), []
    for _ in range(1 + number % 2):
        name, after = draws.choice(["SIGTERM", "SIGKILL"]), draws.uniform(0.2, 1.0) * whole["seconds"]
        process = start(folder, home, on_ray=on_ray)
        try:
            _, error = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(getattr(signal, name))
            _, error = process.communicate(timeout=kills.SECONDS)
        signals.append({"signal": name, "seconds": round(after, 2), "code": process.returncode})
        if "Traceback" in error:
            signals[-1]["traceback"] = error[-2000:]
    process = start(folder, home, on_ray=on_ray)
    _, error = process.communicate(timeout=kills.SECONDS)
    if process.returncode:
        differs = [f"the last command ended with {process.returncode}: {kills.last_line(error)}"]
    else:
        differs = differences(whole, record_of(home))
    differs += ["a traceback" for each in signals if "traceback" in each]
    return {"case": number, "on_ray": on_ray, "signals": signals, "differs": differs}


def differences(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two searches, by arm."""
    found = [key for key in ("states", "names") if whole[key] != other[key]]
    for name, arm in whole["arms"].items():
        theirs = other["arms"].get(name, {})
        found += [f"{name}: {key}" for key, value in arm.items() if theirs.get(key) != value]
    return found


def start(folder: Path, home: Path, *, on_ray: bool) -> "subprocess.Popen[str]":
    """The command, with a home and a temporary folder of its own."""
    temporary = home.with_name(f"{home.name}.t")  # short: Ray's sockets are in it
    temporary.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment = {**kept, "SIDE4VIDEO_HOME": str(home), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "side4video", "sweep", str(folder / "search.yaml"), "--json"]
    return subprocess.Popen(
        [*words, *([] if on_ray else ["--local"])],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def record_of(home: Path) -> dict[str, Any]:
    """What the store of a home says of the search and its arms."""
    store = MLflowStore(sqlite_uri(home / "mlflow.db")).prepare()
    (parent,) = store.runs(name="killed-search")
    records = records_of(store, parent.run_id)
    arms: dict[str, Any] = {}
    runs = [run for run in store.runs() if run.run_id != parent.run_id]
    for run in runs:
        series = {key: [(each.step, each.value) for each in store.history(run.run_id, key)] for key in run.metrics}
        sums = file_checksums(home / "artifacts" / run.run_id / "artifacts")
        arms[run.name] = {
            "status": run.status,
            "state": run.tags.get("state"),
            "params": dict(run.params),
            "values": {key: each for key, each in series.items() if not key.startswith(kills.MEASURED_ANEW)},
            "artifacts": sorted(sums),
            "weights": {name: each["sha256"] for name, each in sums.items() if name.endswith(".safetensors")},
            "predictions": {name: each["sha256"] for name, each in sums.items() if name.endswith(".csv")},
        }
    return {
        "states": [
            (each.name, each.state, each.epochs, [[s.seat, s.first, s.end] for s in each.stays]) for each in records
        ],
        "names": sorted(run.name for run in runs),
        "arms": arms,
    }


if __name__ == "__main__":
    main()
