"""A search of 100 light arms at the shapes of ViT-B/16: seats of one endless pass against arms one by one.

    python benchmarks/light_arms.py [--arms 100] [--seats 25] [--steps 4] [--alone 25] [--threads 2]

Arms are side networks of 3 to 6 layers and 64, 128 or 192 wide, drawn at random, on a ViT-B/16 with random weights, 8
frames of 224. Each trains a few steps of one clip and is evaluated once. All of them take seats; of each group that
sits together, a part is also trained one by one, in turn with the seats, and counts for all. Writes
benchmarks/results/light-arms.json: seconds of steps, of all and without the first one (in which memory is touched for
the first time), wall time (building, trying a step, evaluating), and the formula's speed-up, N (F + C) / (P F + N C),
with F the multiply-adds of the frozen pass, C of a student on average, and P passes for N arms.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import bench
from side4video.arm_search.search import ArmSearch
from side4video.engine.process_group import ProcessGroup
from side4video.planning.packs import Member, cached_planner, costs
from side4video.run import RunContext, run
from side4video.run_with_seats import run_with_seats
from side4video.spec.arm import Arm, Sweep, build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec

CLASSES = 2


def make_sweep(arms: int, seats: int, steps: int) -> Sweep:
    """The search: every arm trains one epoch of so many steps."""
    draw = random.Random(0)  # noqa: S311 - no secret
    base = {
        "name": "light-arms",
        "task": {"kind": "recognition"},
        "backbone": {
            "kind": "vit",
            "image_size": 224,
            "patch_size": 16,
            "width": 768,
            "layers": 12,
            "head_width": 64,
            "weights": {"kind": "random", "seed": 0},
        },
        "method": {"kind": "side4video", "layers": 6, "dim": 192, "recompute": "none"},
        "data": {
            "dataset": {
                "kind": "motion",
                "motions": ["left"],
                "train_clips": steps + steps % 2,
                "test_clips": 2,
                "frames": 8,
                "size": 224,
            },
            "frames": 8,
            "size": 224,
            "decoder": "pyav",
            "loader": {"workers": 0, "cache": "memory"},
        },
        "optimization": {"batch_size": 1, "length": {"epochs": 1}, "warmup": {"steps": 0}, "precision": "fp32"},
        "cluster": {"workers": 1},
    }
    entries = [
        {
            "label": f"arm {number}",
            "overrides": {
                "method.layers": draw.randint(3, 6),
                "method.dim": draw.choice([64, 128, 192]),
                "optimization.learning_rate": 10 ** draw.uniform(-4, -2),
            },
        }
        for number in range(arms)
    ]
    document = {
        "name": "light-arms",
        "base": base,
        "tables": {"light": {"arms": entries}},
        "packing": {"seats": seats},
    }
    return build_sweep(parse_document(SweepSpec, document, source="light arms"), base, "light arms")


class Steps:
    """Seconds of the steps that a run reports, and of the run."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """One list for each step of the backbone, in order."""
        self.began = time.perf_counter()

    def __call__(self, report: Any) -> None:
        """Take a report; arms that share a step report it each."""
        steps: dict[int, float] = {}
        for series in report.metrics.values():
            steps |= {each.step: each.value for each in series if each.key == "time/step_s"}
        self.seconds += [steps[step] for step in sorted(steps)]

    def figures(self, per_arm: int) -> dict[str, float]:
        """Sums, with `per_arm` steps of an arm, of which the first is the first touch of its memory."""
        warm = [value for number, value in enumerate(self.seconds) if number % per_arm]
        wall = time.perf_counter() - self.began
        return {"wall_s": wall, "steps_s": sum(self.seconds), "warm_s": sum(warm), "steps": len(self.seconds)}


def with_seats(sweep: Sweep, arms: list[Arm], steps: int, threads: int) -> dict[str, float]:
    """The arms on one pass."""
    found = Steps()
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(ProcessGroup(), Path(folder), found, every_steps=1, threads=threads)
        run_with_seats(arms[0].experiment, ArmSearch(sweep, arms, len(arms), 1), context)
    return found.figures(steps)


def alone(arms: list[Arm], steps: int, threads: int) -> dict[str, float]:
    """Each arm by itself."""
    found = Steps()
    for arm in arms:
        with tempfile.TemporaryDirectory() as folder:
            context = RunContext(ProcessGroup(), Path(folder), found, every_steps=1, threads=threads)
            run({arm.short_key: arm.experiment}, context)
    return found.figures(steps)


def main() -> None:
    """Measure both ways, a part of the arms at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--seats", type=int, default=25)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--alone", type=int, default=25, help="Number of arms that are also trained one by one.")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sweep = make_sweep(options.arms, options.seats, options.steps)
    sweep.base_experiment.data.listed.prepare()
    planner = cached_planner(CLASSES)
    members = [Member(arm.experiment, planner(arm.experiment)) for arm in sweep.arms]
    frozen = max(costs(member)[0] for member in members)
    students = [costs(member)[1] for member in members]
    passes = -(-options.arms // options.seats)
    document: dict[str, Any] = {
        "arms": options.arms,
        "seats": options.seats,
        "steps": options.steps,
        "threads": options.threads,
        "student_share_of_frozen_pass": statistics.fmean(students) / frozen,
        "formula": (options.arms * frozen + sum(students)) / (passes * frozen + sum(students)),
        "parts": [],
    }
    counts = {"seats": 0, "alone": 0}
    sums = {way: dict.fromkeys(("wall_s", "steps_s", "warm_s"), 0.0) for way in counts}
    for start in range(0, options.arms, options.seats):
        group = list(sweep.arms[start : start + options.seats])
        some = group[:: max(1, options.arms // options.alone)]
        calls = {
            "seats": (group, lambda arms: with_seats(sweep, arms, options.steps, options.threads)),
            "alone": (some, lambda arms: alone(arms, options.steps, options.threads)),
        }
        for way in [*calls][:: -1 if start // options.seats % 2 else 1]:
            arms, call = calls[way]
            part = call(arms)
            counts[way] += len(arms)
            for key in sums[way]:
                sums[way][key] += part[key]
            document["parts"].append({"way": way, "arms": len(arms), **part})
            print(json.dumps(document["parts"][-1]), flush=True)
        for key in ("steps_s", "warm_s", "wall_s"):
            one = {way: sums[way][key] / counts[way] for way in counts}
            document[f"speed_up_{key}"] = one["alone"] / one["seats"]
        print({key: value for key, value in document.items() if key != "parts"}, flush=True)
        bench.save("light-arms", document)


if __name__ == "__main__":
    main()
