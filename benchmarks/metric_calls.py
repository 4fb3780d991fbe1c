"""What a call that logs metrics takes while 32 arms write at once: to SQLite, PostgreSQL, and MLflow servers over both.

    python benchmarks/metric_calls.py [--epochs 20]

Four processes hold eight arms each, a thread an arm, and log five metrics an epoch as a run does: a call is one epoch
of one arm. Beside it one process with one arm, which waits for nobody. Every value is read back. PostgreSQL runs on
this machine and waits for the disk at each commit, as by default. Writes benchmarks/results/metric-calls.json;
`tests/integration/test_many_writers.py` runs the same processes and holds that nothing is lost.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from side4video.core.metric import Metric
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore

METRICS = ("train/loss", "eval/top1", "eval/loss", "memory/peak_gib", "time/mean_step_s")
PROCESSES, ARMS = 4, 8


def value(arm: int, epoch: int, place: int) -> float:
    """What an arm logs at an epoch for a metric."""
    return arm * 1000 + epoch + place / 10


def write_at_once(
    store: MLflowStore, folder: Path, *, processes: int, arms: int, epochs: int, first: int = 0
) -> list[dict[str, Any]]:
    """Begin the processes, let them write at the same moment, and return what each says.

    Raises:
        RuntimeError: If a process failed or met a lock; its words.
    """
    begin = folder / "begin"
    begin.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                "write",
                store.uri,
                *map(str, (first + number * arms, arms, epochs)),
                str(begin),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(processes)
    ]
    try:
        for process in running:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError(process.communicate()[1])
        begin.touch()
        answers = [process.communicate(timeout=600) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, answers, strict=True):
        if process.returncode or "locked" in errors or "Traceback" in errors:
            raise RuntimeError(errors)
    return [json.loads(out) for out, _ in answers]


def write(uri: str, first: int, arms: int, epochs: int, *, begin: Path) -> None:
    """Be one of the processes: a run an arm, some metrics an epoch, tags, a file, the end."""
    store = MLflowStore(uri).prepare()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not begin.exists():
        time.sleep(0.01)
    calls: list[float] = []
    found: dict[int, str] = {}
    threads = [
        threading.Thread(target=log_arm, args=(store, arm, epochs, calls, found)) for arm in range(first, first + arms)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({"calls": calls, "runs": found, "left": store.flush()}))


def log_arm(store: MLflowStore, arm: int, epochs: int, calls: list[float], found: dict[int, str]) -> None:
    """Record one arm; `calls` gets the seconds of each call, `found` its run."""
    run = store.start_run(name=f"arm-{arm}", key=f"many-{arm}")
    found[arm] = run
    store.log_params(run, {"method": {"layers": arm % 4, "dim": 64}})
    for epoch in range(epochs):
        now = int(time.time() * 1000)
        points = [Metric(key, value(arm, epoch, place), epoch, now) for place, key in enumerate(METRICS)]
        started = time.perf_counter()
        store.log(run, points)
        calls.append(time.perf_counter() - started)
    store.set_tags(run, {"state": "finished"})
    store.log_text(run, "index,label\n0,1\n", "predictions.csv")
    store.finish(run)


def measure(
    store: MLflowStore, folder: Path, *, processes: int, arms: int, epochs: int, first: int = 0
) -> dict[str, Any]:
    """The seconds of the calls, and how many values came back wrong."""
    began = time.perf_counter()
    answers = write_at_once(store, folder, processes=processes, arms=arms, epochs=epochs, first=first)
    calls = sorted(each for answer in answers for each in answer["calls"])
    runs = {int(arm): run for answer in answers for arm, run in answer["runs"].items()}
    return {
        "arms": len(runs),
        "calls": len(calls),
        "median_ms": 1e3 * statistics.median(calls),
        "p95_ms": 1e3 * calls[int(0.95 * len(calls))],
        "longest_ms": 1e3 * calls[-1],
        "wall_s": time.perf_counter() - began,
        "values_lost_or_wrong": sum(wrong_values(store, run, arm, epochs) for arm, run in runs.items()),
        "left_in_the_outbox": sum(answer["left"] for answer in answers),
    }


def wrong_values(store: MLflowStore, run: str, arm: int, epochs: int) -> int:
    """How many of an arm's values are missing, doubled or other than they were logged."""
    wrong = 0
    for place, key in enumerate(METRICS):
        stored = [(metric.step, metric.value) for metric in store.history(run, key)]
        wrong += sum(a != b for a, b in zip(stored, [(e, value(arm, e, place)) for e in range(epochs)], strict=False))
        wrong += abs(len(stored) - epochs)
    return wrong


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="Epochs of an arm: its calls.")
    epochs = parser.parse_args(arguments).epochs
    import bench  # with torch, which the writing processes do not need

    sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
    import postgres

    if word := postgres.missing():
        parser.error(word)
    record: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="metric-calls-") as name,
        postgres.postgres_server(settings=()) as database,
    ):
        folder = Path(name)
        os.environ["SIDE4VIDEO_HOME"] = str(folder / "home")
        addresses = {
            "file": f"sqlite:///{folder}/file.db",
            "postgresql": database.create("direct"),
            "server": f"sqlite:///{folder}/server.db",
            "server_over_postgresql": database.create("served"),
        }
        for kind, address in addresses.items():
            own = MLflowStore(address).prepare()
            is_served = kind.startswith("server")
            with TrackingServer(own, port=free_port()) if is_served else contextlib.nullcontext() as server:
                store = MLflowStore(server.address).prepare() if server else own
                many = measure(store, folder, processes=PROCESSES, arms=ARMS, epochs=epochs)
                one = measure(store, folder, processes=1, arms=1, epochs=epochs, first=PROCESSES * ARMS)
            record[kind] = {"arms_at_once": many, "one_arm": one}
    print(json.dumps(record, indent=2))
    print(bench.save("metric-calls", {"command": f"python benchmarks/metric_calls.py --epochs {epochs}", **record}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], *map(int, sys.argv[3:6]), begin=Path(sys.argv[6]))
    else:
        main()
