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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import bench
from side4video.core.units import as_gib
from side4video.engine.clock import Clock
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.optim import learning_rate_at
from side4video.engine.pack import Pack
from side4video.engine.processes import Process
from side4video.engine.step import Plan, train_step
from side4video.engine.student import Student, StudentModule
from side4video.models.frozen_pass import features_of_batch
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.ledger import Ledger
from side4video.planning.pack_memory import Member, plan_pack_memory
from side4video.planning.packs import PlanOf, compile_packs, plans_by_shape, speedup
from side4video.spec.arms import Arm, Sweep, apply
from side4video.spec.load import parse_experiment
from side4video.spec.load_sweep import load_sweep

SWEEPS = bench.RESULTS.parents[1] / "experiments/ablations"
LARGE = "ViT-L-14-quickgelu"
TOY = {
    "backbone": {
        "kind": "vit",
        "weights": {"kind": "random"},
        "image_size": 32,
        "patch_size": 8,
        "width": 64,
        "layers": 12,
        "head_width": 16,
    },
    "data.size": 32,
}
SCHEDULE = Plan(1000, 1000)
FORMULA_TARGET = 0.80
"""Of the formula; what a pack may lose in beginning and ending its parts."""
MEMORY_TARGET = 1.5
SMOKE_ARMS = 3
FROZEN_PASSES = 3
"""Each so many-th arm has a frozen pass in front of it, for F stands in every ratio and is measured best often."""


@dataclass(frozen=True)
class Group:
    """The arms of a sweep on one backbone."""

    name: str
    file: str
    clips: int
    """The paper's batch on one device."""
    speedup_target: float | None = None
    speedup_of_rows_target: float | None = None
    backbone: str = ""
    """Another than the sweep's: then the arms are scaled to it."""


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
        rows.append(run_group(group, device, clips=clips, rounds=rounds, is_smoke=arguments.smoke))
        gc.collect()
    if arguments.smoke:
        return
    name = torch.cuda.get_device_name(device).replace(" ", "-").lower() if device.type == "cuda" else "cpu"
    record = {
        "what": "a packed step against its arms' separate steps: median seconds, ratios, bytes; random weights, frames",
        "command": f"python benchmarks/sweep.py --device {arguments.device} --group {arguments.group} "
        f"--rounds {rounds} --threads {arguments.threads}" + (f" --clips {arguments.clips}" if arguments.clips else ""),
        "threads": arguments.threads,
        "rounds": rounds,
        "groups": rows,
    }
    print(bench.save(f"sweep-{name}" + ("" if arguments.group == "both" else f"-{arguments.group}"), record))


def run_group(group: Group, device: torch.device, *, clips: int, rounds: int, is_smoke: bool) -> dict[str, Any]:
    """All of one group."""
    sweep = load_sweep(SWEEPS / group.file)
    arms = sweep.arms[: SMOKE_ARMS if is_smoke else None]
    plan_of = plans_by_shape(bench.CLASSES)
    precision = "bf16" if device.type == "cuda" else "fp32"
    paper = [settled(arm, group, clips=group.clips, precision="bf16", is_toy=is_smoke) for arm in arms]
    here = [settled(arm, group, clips=clips, precision=precision, is_toy=is_smoke) for arm in arms]
    planned = {f"{group.clips} clips, bf16": paper, f"{clips} clip{'s' if clips > 1 else ''}, {precision}": here}
    if not group.backbone and not is_smoke:
        planned["a worker of the file's eight"] = list(arms)
    row: dict[str, Any] = {
        "name": group.name,
        "distinct_arms": len(arms),
        "rows": sum(len(arm.rows) for arm in arms),
        "clips": clips,
        "precision": precision,
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


# ---- arms


def settled(arm: Arm, group: Group, *, clips: int, precision: str, is_toy: bool) -> Arm:
    """The arm on one worker, with random weights, a batch of so many clips, and on the group's backbone."""
    document = arm.experiment.resolved()
    changes: dict[str, Any] = {
        "backbone.weights": {"kind": "random"},
        "data.repeated_sampling": 1,
        "optimization.batch_size": clips,
        "optimization.accumulation": 1,
        "optimization.precision": precision,
        "cluster": {},
    }
    if group.backbone:
        changes |= {"backbone.model": group.backbone, **scaled(document["method"])}
    if is_toy:
        changes |= TOY
    changes["backbone.precision"] = precision
    return replace(arm, experiment=parse_experiment(apply(document, changes, arm.label), source=arm.label))


def scaled(method: Mapping[str, Any]) -> dict[str, Any]:
    """Twice the layers and 1.6 times the width in heads of 64: what Table 1 makes of both its ViT-B/16 networks."""
    return {"method.layers": 2 * method["layers"], "method.dim": 64 * round(method["dim"] * 1.6 / 64)}


def built(arms: Sequence[Arm], device: torch.device) -> tuple[FrozenTower, list[Student], bench.RandomBatch]:
    """One tower, a student of each arm on it, and the clips of a step; what was built before has gone."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    spec = arms[0].experiment
    tower = bench.random_tower(spec, device)
    students = [build_student(arm, number, tower, device) for number, arm in enumerate(arms)]
    batch = bench.RandomBatch.of(spec.clips_of_a_part, spec.data.frames, spec.data.size)
    return tower, students, batch.to(device)


def build_student(arm: Arm, number: int, tower: FrozenTower, device: torch.device) -> Student:
    """An arm's student, with weights of its own."""
    spec = arm.experiment
    encode = functools.partial(spec.backbone.encode_texts, device="meta")
    task = spec.task.build(tuple(str(index) for index in range(bench.CLASSES)), encode_texts=encode)
    torch.manual_seed(number)
    network = spec.method.build(tower, frames=spec.data.frames)
    module = StudentModule(network, task.head(network.output_dim))
    reads = spec.method.reads(tower.shape, frames=spec.data.frames)
    return Student(arm.label, module, task, spec.optimization, number, reads, Process(device=device))


def pack_of(tower: FrozenTower, students: Sequence[Student]) -> Pack:
    """These students on one frozen pass."""
    return Pack(functools.partial(features_of_batch, tower), students)


def step(pack: Pack, batch: bench.RandomBatch) -> None:
    """A whole step of a pack."""
    clock = Clock(pack.students[0].process.device)
    clock.start()
    train_step(pack, [batch], step=1, plan=SCHEDULE, clock=clock)


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
    student.accumulate(features, labels_B, clips=len(labels_B), synchronise=True, draw=1)
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


def predicted(arms: Sequence[Arm], sweep: Sweep, plan_of: PlanOf) -> dict[str, float]:
    """The planner's speed-ups, of multiply-adds."""
    packs = compile_packs(arms, sweep.spec, plan_of)
    if len(packs) != 1:
        raise SystemExit(f"{sweep.source}: {len(packs)} packs, and this compares one")
    return {
        "speedup": speedup(arms, packs, plan_of),
        "speedup_of_rows": speedup([arm for arm in arms for _ in arm.rows], packs, plan_of),
    }


# ---- memory


def compared(pack: Mapping[str, float], alone: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """A pack's bytes and those of the arm that takes most alone, in GiB, and their ratios.

    Args:
        pack: `all` bytes at the peak; of them those of `optimizer` and `weights`.
        alone: The same of each arm.
    """
    largest = max(alone, key=lambda each: each["all"])

    def ratio(*apart: str) -> float:
        of_pack, of_one = (each["all"] - sum(each[part] for part in apart) for each in (pack, largest))
        return of_pack / of_one

    return {
        "pack_gib": {part: as_gib(size) for part, size in pack.items()},
        "largest_alone_gib": {part: as_gib(size) for part, size in largest.items()},
        "ratio": ratio(),
        "ratio_optimizer_apart": ratio("optimizer"),
        "ratio_optimizer_and_weights_apart": ratio("optimizer", "weights"),
    }


def planned_memory(arms: Sequence[Arm], plan_of: PlanOf) -> dict[str, Any]:
    """What the planner says of a worker's peak."""
    members = [Member(arm.experiment, plan_of(arm.experiment)) for arm in arms]
    gib = 2**30
    parts = [member.plan.peak_memory_parts_gib for member in members]
    alone = [
        {
            "all": gib * member.plan.peak_memory_gib,
            "optimizer": gib * part["optimizer"],
            "weights": gib * part["weights"],
        }
        for member, part in zip(members, parts, strict=True)
    ]
    memory = plan_pack_memory(members)
    pack = {"all": memory.peak, "optimizer": memory.state, "weights": sum(each["weights"] for each in alone)}
    return compared(pack, alone)


def held_on_host(tower: FrozenTower, students: Sequence[Student], batch: bench.RandomBatch) -> dict[str, Any]:
    """Counted on a CPU: what is held for backward, and everything that is there while steps run."""
    united = features_for(tower, students, batch)
    held_packed = max(held_with_tokens(student, united, batch) for student in students)
    held_alone = max(held_with_tokens(student, features_for(tower, [student], batch), batch) for student in students)
    del united
    step(pack_of(tower, students), batch)  # optimizers have their state from now on
    at_most = [bytes_of_a_step(tower, [student], batch) for student in students]
    return {
        "held_and_tokens": {
            "pack_gib": as_gib(held_packed),
            "largest_alone_gib": as_gib(held_alone),
            "ratio": held_packed / held_alone,
        },
        "whole_step": compared(bytes_of_a_step(tower, students, batch), at_most),
    }


def features_for(tower: FrozenTower, students: Sequence[Student], batch: bench.RandomBatch) -> FrozenFeatures:
    """What these students read of the tower."""
    return pack_of(tower, students).features_for(students, batch)


def held_with_tokens(student: Student, features: FrozenFeatures, batch: bench.RandomBatch) -> int:
    """Bytes that a student's forward keeps for its backward, and those of the tokens, which are there beside it."""
    with measure_held(weights_under(student.module)) as held:
        with student.autocast(student.spec.precision):
            outputs = student.module(features)
        loss = student.task.loss(outputs, batch.labels_B)
    for tokens in features.tokens.values():
        held.see(tokens)
    del loss
    return held.total


def bytes_of_a_step(tower: FrozenTower, students: Sequence[Student], batch: bench.RandomBatch) -> dict[str, float]:
    """The most that there is at a time in a step of a pack: all, and of it optimizers' state and weights."""
    gc.collect()
    ledger = Ledger()
    ledger.tag((*tower.parameters(), *tower.buffers()), "tower")
    for student in students:
        ledger.tag((*student.module.parameters(), *student.module.buffers()), "weights")
        ledger.tag(optimizer_state(student), "optimizer")
    with ledger:
        step(pack_of(tower, students), batch)
    parts = ledger.parts_at_most
    return {"all": ledger.most, "optimizer": parts["optimizer"], "weights": parts["weights"]}


def optimizer_state(student: Student) -> list[Tensor]:
    """AdamW's moments."""
    states = student.optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor) and value.ndim]


def peaks_on_device(arms: Sequence[Arm], device: torch.device) -> dict[str, Any]:
    """What a CUDA device's allocator handed out at most: each arm with nothing else there, then all of them packed."""
    alone = [peak_of([arm], device) for arm in arms]
    return {"whole_step": compared(peak_of(arms, device), alone)}


def peak_of(arms: Sequence[Arm], device: torch.device) -> dict[str, float]:
    """Bytes of a pack's steps after the first; nothing of other packs is on the device."""
    tower, students, batch = built(arms, device)
    pack = pack_of(tower, students)
    for _ in range(2):
        step(pack, batch)
    bench.reset(device)
    for _ in range(2):
        step(pack, batch)
    torch.cuda.synchronize(device)
    modules = [student.module for student in students]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return {
        "all": torch.cuda.max_memory_allocated(device),
        "optimizer": sum(tensor.nbytes for student in students for tensor in optimizer_state(student)),
        "weights": sum(tensor.nbytes for tensor in tensors),
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
