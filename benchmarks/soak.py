"""Short runs on one Ray cluster, one after another: whether memory, processes, files or folders grow.

    python benchmarks/soak.py [--minutes 30] [--kill-every 4]

One driver starts Ray on this machine and launches runs of two workers until the time is over; a worker of every fourth
run is killed on its way. After each run it notes what the driver, the raylet and Ray's other processes hold, how many
processes there are, and how large the temporary folders are. At the end Ray is shut down, and what is left over after a
minute is listed. Growth is per run, over the second half of the runs: the first ones fill caches. Writes
benchmarks/results/soak.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import bench
from side4video.core.progress import MessageProgress
from side4video.distributed.cluster import RayCluster
from side4video.distributed.trainer import launch_on_ray
from side4video.spec import Experiment, parse_experiment

SETTLE_SECONDS = 3.0
"""How long processes of a run may take to end before they are counted."""
DOCUMENT: dict[str, Any] = {
    "name": "soak",
    "backbone": {"kind": "vit", "image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
    | {"weights": {"kind": "random", "seed": 0}, "precision": "fp32"},
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {"dataset": {"kind": "motion", "train_clips": 40, "test_clips": 40, "frames": 8, "size": 32}}
    | {"size": 32, "frames": 4, "decoder": "pyav", "loader": {"workers": 0}},
    "optimization": {"batch_size": 8, "length": {"epochs": 3}, "warmup": {"steps": 1}, "precision": "fp32"},
    "cluster": {"workers": 2, "max_failures": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="How long runs are begun.")
    parser.add_argument(
        "--kill-every", type=int, default=4, help="A worker of every so-many-th run is killed; 0: none."
    )
    arguments = parser.parse_args()
    begun: set[psutil.Process] = set()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ["SIDE4VIDEO_HOME"] = folder
        record = soak(parse_experiment(DOCUMENT), arguments.minutes, arguments.kill_every, begun)
    record["left_over"] = left_over(begun)
    command = f"python benchmarks/soak.py --minutes {arguments.minutes:g} --kill-every {arguments.kill_every}"
    print(json.dumps({key: value for key, value in record.items() if key != "samples"}, indent=2))
    print(bench.save("soak", {"command": command, **record}))


def soak(spec: Experiment, minutes: float, kill_every: int, begun: set[psutil.Process]) -> dict[str, Any]:
    """Run after run, and what was held after each; `begun` gets the processes that were seen."""
    deadline, samples, seconds, killed = time.monotonic() + 60 * minutes, [], [], 0
    accuracies = set()
    with RayCluster("local", spec.cluster) as cluster:
        cluster.connected()
        while time.monotonic() < deadline:
            kills = bool(kill_every) and len(samples) % kill_every == kill_every - 1
            disturber = KillOnce(begun, is_armed=kills)
            began = time.monotonic()
            finished = launch_on_ray({"soak": spec}, progress=MessageProgress(disturber.hear))["soak"]
            seconds.append(time.monotonic() - began)
            accuracies.add((finished.metrics["eval/top1"], finished.metrics["eval/loss"]))
            killed += disturber.has_killed
            time.sleep(SETTLE_SECONDS)
            samples.append(sample())
            print(len(samples), samples[-1], flush=True)
    return {
        "runs": len(samples),
        "workers_killed": killed,
        "different_results": len(accuracies),
        "median_run_s": statistics.median(seconds),
        "growth_per_run": growth(samples),
        "first": samples[0],
        "last": samples[-1],
        "samples": samples,
    }


class KillOnce:
    """Kills a worker when the first epoch is done; notes the processes that are there at the end of each."""

    def __init__(self, begun: set[psutil.Process], *, is_armed: bool) -> None:
        self.begun, self.is_armed, self.has_killed = begun, is_armed, False

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message of the run."""
        if message["phase"] == "evaluated":
            self.begun.update(psutil.Process().children(recursive=True))
        if self.is_armed and message["phase"] == "evaluated" and (workers := family("RayTrainWorker")):
            workers[-1].kill()
            self.is_armed, self.has_killed = False, True


def sample() -> dict[str, float]:
    """What is held now: MiB resident, processes, MiB of folders."""
    driver = psutil.Process()
    return {
        "driver_mib": driver.memory_info().rss / 2**20,
        "driver_files": driver.num_fds(),
        "driver_threads": driver.num_threads(),
        "raylet_mib": resident(lambda words: words.partition(" ")[0].endswith("/raylet")),
        "gcs_mib": resident(lambda words: words.partition(" ")[0].endswith("/gcs_server")),
        "workers_mib": resident(lambda words: words.startswith("ray::")),
        "workers": len(family("ray::")),
        "processes": len(driver.children(recursive=True)),
        "scratch_mib": folders("side4video-*"),
        "ray_session_mib": folders("ray/session_latest/*"),
        "home_mib": size(Path(os.environ["SIDE4VIDEO_HOME"])),
    }


def growth(samples: list[dict[str, float]]) -> dict[str, float]:
    """By how much each figure grows from run to run: the slope over the second half."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return {}
    numbers = list(range(len(half)))
    return {key: statistics.linear_regression(numbers, [each[key] for each in half]).slope for key in half[0]}


def family(word: str) -> list[psutil.Process]:
    """This process's descendants whose command has a word."""
    return [each for each in psutil.Process().children(recursive=True) if word in words_of(each)]


def resident(is_meant: Callable[[str], bool]) -> float:
    """MiB of this process's descendants that are meant."""
    found = 0.0
    for each in psutil.Process().children(recursive=True):
        try:
            found += each.memory_info().rss / 2**20 if is_meant(words_of(each)) else 0.0
        except psutil.Error:
            continue
    return found


def words_of(process: psutil.Process) -> str:
    """A process's command; empty if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def folders(pattern: str) -> float:
    """MiB below the temporary folder."""
    return sum(size(each) for each in Path(tempfile.gettempdir()).glob(pattern))


def size(folder: Path) -> float:
    """MiB of all files below a folder."""
    found = 0
    for path in (folder, *folder.rglob("*")):
        try:
            found += path.lstat().st_size if path.is_file() else 0
        except OSError:
            continue
    return found / 2**20


def left_over(begun: set[psutil.Process]) -> list[str]:
    """Processes of the runs that are still there, once they had a minute to end."""
    _, left = psutil.wait_procs(begun, timeout=60)
    return [words_of(each)[:120] for each in left]


if __name__ == "__main__":
    main()
