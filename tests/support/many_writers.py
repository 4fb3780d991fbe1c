"""A process that logs as several arms do: a run each, some metrics an epoch, tags, a file, the end."""

import json
import sys
import threading
import time
from pathlib import Path

from side4video.tracking.records import Metric
from side4video.tracking.store import Store

METRICS = ("train/loss", "eval/top1", "eval/loss", "memory/peak_gib", "time/mean_step_s")


def value(arm: int, epoch: int, place: int) -> float:
    return arm * 1000 + epoch + place / 10


def log_arm(store: Store, arm: int, epochs: int, calls: list[float], found: dict[int, str]) -> None:
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


def main() -> None:
    uri, first, arms, epochs, begin = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
    store = Store(uri).prepare()
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
    left = store.flush()
    sys.stdout.write(json.dumps({"calls": calls, "runs": found, "left": left}))


if __name__ == "__main__":
    main()
