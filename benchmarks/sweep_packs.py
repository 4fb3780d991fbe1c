"""Packs of a sweep's arms at the sizes of a benchmark, and what a step of them holds. Used by `sweep.py`."""

import functools
import gc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import bench
from side4video.core.units import GIB, as_gib
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.engine.student import Student, StudentModule
from side4video.models.frozen_features import features_of_batch
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.memory_tracker import MemoryTracker
from side4video.planning.packs import Member, Planner, plan_pack_memory
from side4video.spec.arm import Arm, apply_overrides
from side4video.spec.load import parse_experiment

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
"""All timed steps are in the warm-up: weights hardly move, however often a step is repeated."""


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


# ---- arms


def settled(arm: Arm, group: Group, *, clips: int, precision: str, is_toy: bool, recompute: str = "") -> Arm:
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
    if recompute and "recompute" in document["method"]:
        changes["method.recompute"] = recompute
    if group.backbone:
        changes |= {"backbone.model": group.backbone, **scaled(document["method"])}
    if is_toy:
        changes |= TOY
    changes["backbone.precision"] = precision
    return replace(arm, experiment=parse_experiment(apply_overrides(document, changes, arm.label), source=arm.label))


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
    batch = bench.RandomBatch.of(spec.clips_per_part, spec.data.frames, spec.data.size)
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
    return Student(arm.label, module, task, spec.optimization, number, reads, ProcessGroup(device=device))


def pack_of(tower: FrozenTower, students: Sequence[Student]) -> Pack:
    """These students on one frozen pass."""
    return Pack.of_one_tower(functools.partial(features_of_batch, tower), students)


def step(pack: Pack, batch: bench.RandomBatch) -> None:
    """A whole step of a pack."""
    timer = StepTimer(pack.students[0].process.device)
    timer.start()
    train_step(pack, [batch], step=1, plan=SCHEDULE, timer=timer)


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


def planned_memory(arms: Sequence[Arm], plan_of: Planner) -> dict[str, Any]:
    """What the planner says of a worker's peak."""
    members = [Member(arm.experiment, plan_of(arm.experiment)) for arm in arms]
    parts = [member.plan.peak_memory_parts_gib for member in members]
    alone = [
        {
            "all": GIB * member.plan.peak_memory_gib,
            "optimizer": GIB * part["optimizer"],
            "weights": GIB * part["weights"],
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
        held.add(tokens)
    del loss
    return held.total


def bytes_of_a_step(tower: FrozenTower, students: Sequence[Student], batch: bench.RandomBatch) -> dict[str, float]:
    """The most that there is at a time in a step of a pack: all, and of it optimizers' state and weights."""
    gc.collect()
    tracker = MemoryTracker()
    tracker.tag((*tower.parameters(), *tower.buffers()), "tower")
    for student in students:
        tracker.tag((*student.module.parameters(), *student.module.buffers()), "weights")
        tracker.tag(optimizer_state(student), "optimizer")
    with tracker:
        step(pack_of(tower, students), batch)
    parts = tracker.parts_at_peak
    return {"all": tracker.most, "optimizer": parts["optimizer"], "weights": parts["weights"]}


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
