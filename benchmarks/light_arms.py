"""A search of 100 light arms at the shapes of ViT-B/16: seats of one endless pass against arms one by one.

    python benchmarks/light_arms.py [--arms 100] [--seats 25] [--steps 2] [--threads 2]

Arms are side networks of 3 to 6 layers and 64, 128 or 192 wide, drawn at random, on a ViT-B/16 with random weights, 8
frames of 224. Each trains a few steps of one clip and is evaluated once. Both ways train the same arms in one process,
the ways in turns of `seats` arms, so that both meet the same moments of a noisy machine. Writes
benchmarks/results/light-arms.json: seconds of steps, wall time of all (building, trying a step, evaluating), and the
speed-up of the formula, N (F + mean C) / (P F + N mean C), with F of the frozen pass, C of a student and P of N passes.
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

RESULT = bench.RESULTS / "light-arms.json"
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


def with_seats(sweep: Sweep, arms: list[Arm], seats: int, threads: int) -> dict[str, float]:
    """The arms on one pass."""
    seconds: list[float] = []

    def report(report: Any) -> None:
        steps: dict[int, float] = {}
        for series in report.metrics.values():
            steps |= {each.step: each.value for each in series if each.key == "time/step_s"}
        seconds.extend(steps.values())

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(ProcessGroup(), Path(folder), report, every_steps=1, threads=threads)
        run_with_seats(arms[0].experiment, ArmSearch(sweep, arms, seats, 1), context)
    return {"wall_s": time.perf_counter() - started, "steps_s": sum(seconds), "steps": len(seconds)}


def alone(arms: list[Arm], threads: int) -> dict[str, float]:
    """Each arm by itself."""
    seconds: list[float] = []

    def report(report: Any) -> None:
        for series in report.metrics.values():
            seconds.extend(each.value for each in series if each.key == "time/step_s")

    started = time.perf_counter()
    for arm in arms:
        with tempfile.TemporaryDirectory() as folder:
            context = RunContext(ProcessGroup(), Path(folder), report, every_steps=1, threads=threads)
            run({arm.short_key: arm.experiment}, context)
    return {"wall_s": time.perf_counter() - started, "steps_s": sum(seconds), "steps": len(seconds)}


def main() -> None:
    """Measure both ways, a part of the arms at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--seats", type=int, default=25)
    parser.add_argument("--steps", type=int, default=2)
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
    for start in range(0, options.arms, options.seats):
        part = list(sweep.arms[start : start + options.seats])
        pair = [lambda part=part: with_seats(sweep, part, options.seats, options.threads)]
        pair.append(lambda part=part: alone(part, options.threads))
        names = ["seats", "alone"]
        if start // options.seats % 2:
            pair, names = pair[::-1], names[::-1]
        document["parts"].append({name: call() for name, call in zip(names, pair, strict=True)} | {"arms": len(part)})
        for key in ("steps_s", "wall_s"):
            sums = {way: sum(each[way][key] for each in document["parts"]) for way in ("seats", "alone")}
            document[f"speed_up_{key}"] = sums["alone"] / sums["seats"]
        print(json.dumps(document["parts"][-1]), document["speed_up_steps_s"], document["formula"], flush=True)
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
