"""What a sweep costs beside its training, whom ASHA stops, what a kill leaves, what a hundred arms need.

    python benchmarks/sweep_service.py overhead [--minutes 10]    starting, and all that is not the engine's own time
    python benchmarks/sweep_service.py asha                       16 arms on motion, all of them and with ASHA
    python benchmarks/sweep_service.py kills                      the driver killed three times, then the same command
    python benchmarks/sweep_service.py arms [--count 100]         many tiny arms; what the driver holds meanwhile

Each runs `side4video sweep` in processes of its own with a fresh home, and writes
benchmarks/results/sweep-NAME.json. Run them on a machine that does nothing else.
"""

import argparse
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

import bench
from side4video.tracking.mlflow.store import MLflowStore

ROOT = Path(__file__).resolve().parents[1]
MOTION = ROOT / "experiments/ablations/motion.yaml"
QUICKSTART = ROOT / "experiments/quickstart.yaml"
ASHA = ROOT / "experiments/ablations/motion-asha.yaml"
TINY = {
    "backbone": {"kind": "vit", "image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
    | {"weights": {"kind": "random", "seed": 0}, "precision": "fp32"},
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {"dataset": {"kind": "motion", "train_clips": 40, "test_clips": 40, "frames": 8, "size": 32}}
    | {"size": 32, "frames": 4, "decoder": "pyav", "loader": {"workers": 0, "cache": "memory"}},
    "optimization": {"batch_size": 8, "length": {"epochs": 3}, "warmup": {"steps": 1}, "precision": "fp32"},
}


STARTS = 3
"""How often starting is measured, with Ray and without, by turns."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "asha", "kills", "arms"])
    parser.add_argument("--minutes", type=float, default=10.0, help="Of training in the pack of `overhead`.")
    parser.add_argument("--count", type=int, default=100, help="Arms of `arms`.")
    parser.add_argument("--seed", type=int, default=0, help="Of the moments of `kills`.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
        measure = {"overhead": overhead, "asha": asha, "kills": kills, "arms": many_arms}[arguments.what]
        record = measure(Path(folder), arguments)
    command = f"python benchmarks/sweep_service.py {' '.join(sys.argv[1:])}"
    print(json.dumps({key: value for key, value in record.items() if key != "samples"}, indent=2))
    print(bench.save(f"sweep-{arguments.what}", {"command": command, **record}))


class Running:
    """A sweep's command, its lines with their times, and what its process holds, once a second."""

    def __init__(self, file: Path, home: Path, *options: str) -> None:
        self.began = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self.samples: list[dict[str, float]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "side4video", "sweep", str(file), "--json", *options],
            env={**os.environ, "SIDE4VIDEO_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._sample)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append((time.monotonic() - self.began, line.rstrip()))

    def _sample(self) -> None:
        try:
            process = psutil.Process(self.process.pid)
            while self.process.poll() is None:
                with process.oneshot():
                    self.samples.append(
                        {
                            "s": time.monotonic() - self.began,
                            "mebibytes": process.memory_info().rss / 2**20,
                            "threads": process.num_threads(),
                            "files": process.num_fds(),
                            "processes": len(process.children(recursive=True)),
                        }
                    )
                time.sleep(1)
        except psutil.Error:
            return

    def at(self, text: str) -> float:
        """Seconds until a line held this text."""
        return next(when for when, line in self.lines if text in line)

    def finish(self) -> dict[str, Any]:
        """The command's answer; its processes must be gone soon after it."""
        group = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        out = self.process.stdout.read() if self.process.stdout else ""
        self.process.wait()
        self.seconds = time.monotonic() - self.began
        for thread in self._threads:
            thread.join(5)
        if self.process.returncode:
            raise SystemExit("\n".join(line for _, line in self.lines[-20:]))
        _, left = psutil.wait_procs(group, timeout=30)
        self.left = len(left)
        if not out.startswith("{"):
            raise SystemExit(f"no JSON on stdout, but: {out[:2000]!r}")
        return json.loads(out)


def write(folder: Path, name: str, document: dict[str, Any]) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def overhead(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One pack of nine arms that trains for some minutes, on one worker."""
    base = yaml.safe_load(MOTION.read_text())
    base["evaluation"]["every_epochs"] = 4
    grid = {"method.layers": [2, 3, 4], "method.dim": [64, 128, 192]}
    document = {"name": "overhead", "base": base, "grid": grid}
    # Short ones first, on few clips: starts without Ray (the first makes the data and warms the disk), then with it.
    few = {"data.dataset.train_clips": 160, "data.dataset.test_clips": 80, "optimization.length": {"epochs": 1}}
    document["overrides"] = few
    Running(write(folder, "short", document), folder / "home", "--local").finish()
    short: dict[str, list[Running]] = {"ray": [], "local": []}
    for _, (way, starts) in itertools.product(range(STARTS), short.items()):
        options = ["--rerun", *(["--local"] if way == "local" else [])]
        starts.append(Running(write(folder, "short", document), folder / "home", *options))
        answer = starts[-1].finish()
    a_clip = mean(answer, "time/mean_step_s") / base["optimization"]["batch_size"]
    an_epoch = a_clip * base["data"]["dataset"]["train_clips"]
    epochs = max(4, math.ceil(60 * arguments.minutes / an_epoch))
    document["overrides"] = {"optimization.length": {"epochs": epochs}}
    make_data(base["data"]["dataset"], folder / "home")
    running = Running(write(folder, "long", document), folder / "home")
    answer = running.finish()
    engine = mean(answer, "time/mean_total_s")
    return {
        "arms": len(answer["arms"]),
        "epochs": epochs,
        "wall_s": running.seconds,
        "engine_s": engine,
        "overhead_s": running.seconds - engine,
        "overhead_fraction": (running.seconds - engine) / running.seconds,
        **_of_services(running, engine),
        "start": {
            "long": start(running),
            "short": [start(each) for each in short["ray"]],
            "local": [start(each) for each in short["local"]],
            "of_services_s": [
                start(ray)["s"] - start(local)["s"] for ray, local in zip(short["ray"], short["local"], strict=True)
            ],
        },
        "end_s": running.seconds - running.at("storing the results"),
        "targets": {"overhead_fraction": 0.05, "start_of_services_s": 15},
    }


def make_data(dataset: dict[str, Any], home: Path) -> None:
    """Make the built-in clips: whoever names a set first pays for it, and that is no sweep's overhead."""
    fields = {name: value for name, value in dataset.items() if name not in ("kind", "motions")}
    options = [part for name, value in fields.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "side4video", "data", "make", *options]
    subprocess.run(command, env={**os.environ, "SIDE4VIDEO_HOME": str(home)}, check=True, capture_output=True)


def _of_services(running: Running, engine: float) -> dict[str, float]:
    """What of it is Ray, Ray Train, Ray Tune and MLflow: all but the planning, and the imports before it."""
    seconds = running.seconds - engine - running.at("opening the records")
    return {"of_services_s": seconds, "of_services_fraction": seconds / running.seconds}


def start(running: Running) -> dict[str, float]:
    """Seconds of a sweep's start: before the quote, and from it to the engine's first act."""
    quoted, begun = running.at("opening the records"), running.at("loading the backbone")
    return {"planning_s": quoted, "records_and_workers_s": begun - quoted, "s": begun}


def asha(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001
    """The same 16 arms twice: nobody stopped, and with ASHA."""
    whole = Running(ASHA, folder / "whole", "--set", "scheduler=none").finish()
    halved = Running(ASHA, folder / "halved").finish()
    steps = [sum(arm["metrics"]["train/steps_trained"] for arm in answer["arms"]) for answer in (whole, halved)]
    best = [max(answer["arms"], key=lambda arm: finished_top1(arm))["label"] for answer in (whole, halved)]
    curves = {arm["hash"]: arm["metrics"]["eval/top1"] for arm in whole["arms"]}
    same = all(
        curves[arm["hash"]] == arm["metrics"]["eval/top1"] for arm in halved["arms"] if arm["state"] == "finished"
    )
    return {
        "arms": len(whole["arms"]),
        "student_steps": {"all": steps[0], "asha": steps[1]},
        "share_of_steps": steps[1] / steps[0],
        "best": {"all": best[0], "asha": best[1]},
        "same_best": best[0] == best[1],
        "survivors_end_as_without_asha": same,
        "states": {state: sum(arm["state"] == state for arm in halved["arms"]) for state in ("finished", "stopped")},
        "wall_s": {"all": whole["time"]["wall_s"], "asha": halved["time"]["wall_s"]},
        "top1": {
            arm["label"]: [curves[arm["hash"]], arm["metrics"]["eval/top1"], arm["state"]] for arm in halved["arms"]
        },
        "targets": {"share_of_steps": 0.6, "same_best": True},
    }


def finished_top1(arm: dict[str, Any]) -> float:
    return arm["metrics"]["eval/top1"] if arm["state"] == "finished" else -1.0


def kills(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """A sweep in two packs: undisturbed, and killed (SIGKILL) at three random moments."""
    base = {**TINY, "optimization": {**TINY["optimization"], "length": {"epochs": 60}}}
    grid = {"method.layers": [1, 2], "optimization.learning_rate": [1e-3, 3e-4, 1e-4]}
    file = write(folder, "kills", {"name": "kills", "base": base, "grid": grid, "packing": 3})
    undisturbed = Running(file, folder / "undisturbed")
    expected = ends(undisturbed.finish())
    generator = random.Random(arguments.seed)  # noqa: S311
    history, finished = [], {}
    for _ in range(3):
        running = Running(file, folder / "killed")
        epochs = generator.randrange(2, 26)
        while running.process.poll() is None and sum(": epoch " in line for _, line in running.lines) < epochs:
            time.sleep(0.05)
        time.sleep(generator.random())
        if running.process.poll() is not None:
            raise SystemExit("the sweep ended before it could be killed")
        running.process.kill()
        running.process.wait()
        time.sleep(8)  # Ray's processes end after their driver
        now = finished_runs(folder / "killed")
        last = running.lines[-1][1] if running.lines else ""
        history.append({"after_epochs_of_this_try": epochs, "last_line": last, "finished": len(now)})
        if not finished.items() <= now.items():
            raise SystemExit("a finished arm ran again")
        finished = now
    again = Running(file, folder / "killed")
    answer = again.finish()
    return {
        "kills": history,
        "no_finished_arm_ran_again": finished.items() <= finished_runs(folder / "killed").items(),
        "table_equals_the_undisturbed_one": ends(answer) == expected,
        "had_a_result_at_last": sum(arm["had_a_result"] for arm in answer["arms"]),
        "undisturbed_s": undisturbed.seconds,
    }


def ends(answer: dict[str, Any]) -> dict[str, Any]:
    names = ("eval/top1", "eval/loss", "best/top1", "best/epoch", "train/steps_trained")
    return {arm["hash"]: [arm["state"], *(arm["metrics"][name] for name in names)] for arm in answer["arms"]}


def finished_runs(home: Path) -> dict[str, int]:
    """When each finished arm ended."""
    if not (home / "mlflow.db").is_file():
        return {}
    store = MLflowStore(f"sqlite:///{home / 'mlflow.db'}").prepare()
    runs = store.runs("tags.state = 'finished' and tags.`side4video.digest` != ''")
    return {run.tags["side4video.digest"]: run.end_ms for run in runs}


def many_arms(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Tiny arms in four packs, on two cores."""
    side = arguments.count // 10
    rates = [round(1e-3 * 0.8**number, 8) for number in range(10)]
    decays = [round(0.01 * (number + 1), 4) for number in range(side)]
    grid = {"optimization.learning_rate": rates, "optimization.weight_decay": decays}
    packing = max(1, 10 * side // 4)
    file = write(folder, "arms", {"name": "arms", "base": TINY, "grid": grid, "packing": packing})
    running = Running(file, folder / "home")
    answer = running.finish()
    training = [sample for sample in running.samples if sample["s"] > running.at("loading the backbone")]
    quarters = [training[len(training) * n // 4 : len(training) * (n + 1) // 4] for n in range(4)]
    medians = {
        name: [statistics.median(sample[name] for sample in quarter) for quarter in quarters]
        for name in ("mebibytes", "threads", "files", "processes")
    }
    return {
        "arms": len(answer["arms"]),
        "finished": sum(arm["state"] == "finished" for arm in answer["arms"]),
        "wall_s": running.seconds,
        "medians_by_quarter": medians,
        "processes_left": running.left,
        "starts_of_packs": sum("loading the backbone" in line for _, line in running.lines),
        "samples": list(itertools.islice(running.samples, 0, None, 5)),
    }


def mean(answer: dict[str, Any], name: str) -> float:
    return statistics.mean(arm["metrics"][name] for arm in answer["arms"])


if __name__ == "__main__":
    main()
