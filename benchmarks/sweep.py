"""A pack against its arms one by one: the time and the memory of a step, in one run.

    python benchmarks/sweep.py [--device cuda|cpu] [--group b-f|light|both] [--rounds 5] [--threads 2] [--clips 1]
    python benchmarks/sweep.py --smoke             # a toy backbone, in seconds: whether the script works

On a CPU: fp32, true ViT-B/16 shapes, one clip of 8 frames. On CUDA: the paper's batch in bf16, ViT-B/16, and ViT-L/14
with the same arms scaled as Table 1 scales them. Random weights and frames. The nine distinct arms of Table 9 b to f,
which stand in 13 rows, and 18 light ones. In each round everything takes its turn: F (the frozen pass for what all arms
read), each arm's own part C (forward, backward, update) on features that are there, each arm's separate step, the
packed step.

*Speed-up* is the sum of the separate steps over the packed one. *Formula*: sum(F + C) / (F + sum(C)) of the measured F
and C, what a pack gains if it costs no more than its parts. *Predicted*: the same of multiply-adds, as `side4video
plan` says it, for a device that is as fast in a side network as in the tower. *Memory* of the pack is set against that
of the arm that takes most alone; *apart* leaves out on both sides what grows with the number of arms whatever one does:
the optimizers' state, and then the weights too. Quote ratios: times are the machine's. Writes
benchmarks/results/sweep-DEVICE.json.
"""

import argparse
import functools
import gc
import logging
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import bench
from side4video.engine.optimizer import learning_rate_at
from side4video.engine.student import Student
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.packs import Planner, cached_planner, make_packs, speedup
from side4video.spec.arm import Arm, Sweep, load_sweep
from sweep_packs import (
    SCHEDULE,
    Group,
    built,
    held_on_host,
    pack_of,
    peaks_on_device,
    planned_memory,
    settled,
    step,
)

SWEEPS = bench.RESULTS.parents[1] / "experiments/ablations"
LARGE = "ViT-L-14-quickgelu"
FORMULA_TARGET = 0.80
"""Of the formula; what a pack may lose in beginning and ending its parts."""
MEMORY_TARGET = 1.5
SMOKE_ARMS = 3
FROZEN_PASSES = 3
"""Each so many-th arm has a frozen pass in front of it, for F stands in every ratio and is measured best often."""


B_F = Group("9 b to f, ViT-B/16", "table9-b-f.yaml", 32, 1.8, 2.6)
LIGHT = Group("18 light ones, ViT-B/16", "pareto-layers-dim.yaml", 32, 3.8)
ON_LARGE = {
    B_F: Group("9 b to f, ViT-L/14", B_F.file, 16, backbone=LARGE),
    LIGHT: Group("18 light ones, ViT-L/14", LIGHT.file, 16, backbone=LARGE),
}
GROUPS = {"b-f": (B_F,), "light": (LIGHT,), "both": (B_F, LIGHT)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--group", choices=GROUPS, default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=None, help="Of a step; else 1, on CUDA the paper's batch.")
    parser.add_argument(
        "--recompute", choices=["", "none", "selective", "block"], default="", help="Of all arms; else as in the file."
    )
    parser.add_argument("--smoke", action="store_true", help="A toy backbone and one round; nothing is written.")
    arguments = parser.parse_args()
    for name in ("SSV1", "SSV2"):
        os.environ.setdefault(name, "/not/read/here")
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    device = torch.device(arguments.device)
    groups = GROUPS[arguments.group]
    if device.type == "cuda" and not arguments.smoke:
        groups += tuple(ON_LARGE[group] for group in groups)
    rounds = 1 if arguments.smoke else arguments.rounds
    rows = []
    for group in groups:
        clips = arguments.clips or (group.clips if device.type == "cuda" else 1)
        options = {"clips": clips, "rounds": rounds, "is_smoke": arguments.smoke, "recompute": arguments.recompute}
        rows.append(run_group(group, device, **options))
        gc.collect()
    if arguments.smoke:
        return
    name = torch.cuda.get_device_name(device).replace(" ", "-").lower() if device.type == "cuda" else "cpu"
    record = {
        "what": "a packed step against its arms' separate steps: median seconds, ratios, bytes; random weights, frames",
        "command": f"python benchmarks/sweep.py --device {arguments.device} --group {arguments.group} "
        f"--rounds {rounds} --threads {arguments.threads}"
        + (f" --clips {arguments.clips}" if arguments.clips else "")
        + (f" --recompute {arguments.recompute}" if arguments.recompute else ""),
        "threads": arguments.threads,
        "rounds": rounds,
        "groups": rows,
    }
    print(bench.save(f"sweep-{name}" + ("" if arguments.group == "both" else f"-{arguments.group}"), record))


def run_group(
    group: Group, device: torch.device, *, clips: int, rounds: int, is_smoke: bool, recompute: str
) -> dict[str, Any]:
    """All of one group."""
    sweep = load_sweep(SWEEPS / group.file)
    arms = sweep.arms[: SMOKE_ARMS if is_smoke else None]
    plan_of = cached_planner(bench.CLASSES)
    precision = "bf16" if device.type == "cuda" else "fp32"
    paper = [settled(arm, group, clips=group.clips, precision="bf16", is_toy=is_smoke) for arm in arms]
    here = [settled(arm, group, clips=clips, precision=precision, is_toy=is_smoke, recompute=recompute) for arm in arms]
    planned = {f"{group.clips} clips, bf16": paper, f"{clips} clip{'s' if clips > 1 else ''}, {precision}": here}
    if not group.backbone and not is_smoke:
        planned["a worker of the file's eight"] = list(arms)
    row: dict[str, Any] = {
        "name": group.name,
        "distinct_arms": len(arms),
        "rows": sum(len(arm.rows) for arm in arms),
        "clips": clips,
        "precision": precision,
        "recompute": recompute or "as in the file",
        "targets": {
            "speedup": group.speedup_target,
            "speedup_of_rows": group.speedup_of_rows_target,
            "of_the_formula": FORMULA_TARGET,
            "memory": MEMORY_TARGET,
        },
        "predicted": predicted(paper, sweep, plan_of),
        "planned_memory": {name: planned_memory(them, plan_of) for name, them in planned.items()},
    }
    try:
        if device.type == "cuda":
            row["measured_memory"] = peaks_on_device(here, device)
        tower, students, batch = built(here, device)
        if device.type != "cuda":
            row["measured_memory"] = held_on_host(tower, students, batch)
        row["seconds"] = seconds = timed(tower, students, batch, rounds=rounds)
        row["measured"] = ratios(arms, seconds)
    except torch.OutOfMemoryError as error:
        row["out_of_memory"] = str(error).split(".")[0]
    show(row)
    return row


# ---- time


def timed(
    tower: FrozenTower, students: Sequence[Student], batch: bench.RandomBatch, *, rounds: int
) -> dict[str, dict[str, float]]:
    """Median seconds: `shared` (the frozen pass, the packed step), and by arm `own` and `separate`."""
    pack = pack_of(tower, students)
    features = pack.features_for(students, batch)
    calls: list[tuple[str, str, Callable[[], object]]] = []
    for number, student in enumerate(students):
        if number % FROZEN_PASSES == 0:
            calls.append(("shared", "frozen pass", lambda: pack.features_for(students, batch)))
        if number == len(students) // 2:
            calls.append(("shared", "packed step", lambda: step(pack, batch)))
        alone = pack_of(tower, [student])
        calls.append(("own", student.name, functools.partial(own_part, student, features, batch.labels_B)))
        calls.append(("separate", student.name, functools.partial(step, alone, batch)))
    calls.append(("shared", "packed step", lambda: step(pack, batch)))
    spent: dict[tuple[str, str], list[float]] = {}
    device = students[0].process.device
    for number in range(rounds + 1):
        for kind, name, call in calls:
            elapsed = seconds_of(call, device)
            if number:  # the first round warms up
                spent.setdefault((kind, name), []).append(elapsed)
    medians: dict[str, dict[str, float]] = {"shared": {}, "own": {}, "separate": {}}
    for (kind, name), values in spent.items():
        medians[kind][name] = statistics.median(values)
    return medians


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, until the device has done it; what it returns is gone by then."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def own_part(student: Student, features: FrozenFeatures, labels_B: Tensor) -> None:
    """What a step takes of one student, the features being there."""
    student.accumulate(features, labels_B, clips=len(labels_B), synchronize=True, draw=1)
    rate = learning_rate_at(1, student.spec, steps=SCHEDULE.steps, steps_per_epoch=SCHEDULE.steps_per_epoch)
    student.update(rate)


def ratios(arms: Sequence[Arm], seconds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Speed-ups, of distinct arms and of the document's rows, and of the formula what was reached.

    Every arm reads the tower's last block, so that F is the same for all.
    """
    frozen, packed = (seconds["shared"][name] for name in ("frozen pass", "packed step"))
    own, separate = ([seconds[kind][arm.label] for arm in arms] for kind in ("own", "separate"))
    formula = sum(frozen + each for each in own) / (frozen + sum(own))
    measured = sum(separate) / packed
    return {
        "speedup": measured,
        "speedup_of_rows": sum(len(arm.rows) * each for arm, each in zip(arms, separate, strict=True)) / packed,
        "formula": formula,
        "of_the_formula": measured / formula,
        "frozen_share_of_a_separate_step": frozen * len(arms) / sum(separate),
    }


def predicted(arms: Sequence[Arm], sweep: Sweep, plan_of: Planner) -> dict[str, float]:
    """The planner's speed-ups, of multiply-adds."""
    packs = make_packs(arms, sweep.spec, plan_of)
    if len(packs) != 1:
        raise SystemExit(f"{sweep.source}: {len(packs)} packs, and this compares one")
    return {
        "speedup": speedup(arms, packs, plan_of),
        "speedup_of_rows": speedup([arm for arm in arms for _ in arm.rows], packs, plan_of),
    }


# ---- what is printed


def show(row: Mapping[str, Any]) -> None:
    """A group's ratios beside their targets."""
    print(
        f"{row['name']}: {row['distinct_arms']} arms in {row['rows']} rows, {row['clips']} clip(s), {row['precision']}"
    )
    if "seconds" in row:
        seconds, measured = row["seconds"], row["measured"]
        for name, value in seconds["shared"].items():
            print(f"  {name:<44} {value:8.4f} s")
        for name, value in seconds["own"].items():
            print(f"  {name:<44} {value:8.4f} s own, {seconds['separate'][name]:8.4f} s separate")
        targets, predictions = row["targets"], row["predicted"]
        _line("speed-up", measured["speedup"], targets["speedup"], predictions["speedup"])
        if row["rows"] != row["distinct_arms"]:
            rows = "speed-up, each row by itself"
            _line(rows, measured["speedup_of_rows"], targets["speedup_of_rows"], predictions["speedup_of_rows"])
        _line("formula, of measured parts", measured["formula"], None, None)
        _line("of the formula", measured["of_the_formula"], targets["of_the_formula"], None)
    memories = {f"planned, {name}": memory for name, memory in row["planned_memory"].items()}
    memories |= {f"measured, {name.replace('_', ' ')}": each for name, each in row.get("measured_memory", {}).items()}
    for name, memory in memories.items():
        found = {key.removeprefix("ratio_"): value for key, value in memory.items() if key.startswith("ratio")}
        words = [f"{value:.2f} {key.replace('_', ' ')}" for key, value in found.items()]
        print(f"  memory, {name}: {', '.join(words)}")
    print(f"  target of memory, the optimizer apart: {row['targets']['memory']}")
    if "out_of_memory" in row:
        print(f"  {row['out_of_memory']}")


def _line(name: str, value: float, target: float | None, prediction: float | None) -> None:
    notes = [f"target {target}"] if target else []
    notes += [f"predicted from multiply-adds {prediction:.2f}"] if prediction else []
    print(f"  {name:<44} {value:8.2f}    {', '.join(notes)}".rstrip())


if __name__ == "__main__":
    main()
