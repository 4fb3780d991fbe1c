"""Groups arms into packs that share one stream of clips and, with one backbone, one pass of it.

Predicts the speedup and the memory of packs.

Speedup: costs are multiply-adds of one clip. F is the frozen pass. C is a training step of a student: its forward pass,
a backward pass of twice that work, and what it recomputes. K arms alone cost K (F + C); in a pack they cost F + K C.
For equal arms the speedup is K (F + C) / (F + K C).

Memory: while one student runs, the others hold their weights, their optimizer state and the frozen tokens that they
read. The peak of a pack is therefore the largest peak of a student plus these bytes of the others. A student alone
frees the tokens before its backward pass; in a pack they stay until the last student has read them. The frozen pass
runs once, down to the deepest block that any student reads.

Several backbones: their weights are all in memory, and they run one after another. While the students of one train, the
others hold their weights, and their students what they hold between steps. Each clip is decoded once for all.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil
from operator import or_
from pathlib import Path
from typing import TypeVar

import torch

from side4video.core.errors import InputError
from side4video.core.units import GIB, as_gib
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import entry_layouts
from side4video.planning.estimates import FORWARD_AND_BACKWARD, RECOMPUTED
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.arm import Arm
from side4video.spec.check import by_backbone
from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec

MIN_SPEEDUP = 1.05
"""Predicted speedup from which packing is reported as worthwhile."""

Trained = TypeVar("Trained", "Arm", "Member")
Planner = Callable[[Experiment], ExperimentPlan]

_NOT_IN_SHAPE_KEY = (
    "learning_rate",
    "weight_decay",
    "warmup",
    "head_learning_rate_factor",
    "betas",
    "epsilon",
    "length",
)
"""Optimization fields that do not change the cost or memory of a step."""


@dataclass(frozen=True)
class Member:
    """A student of a pack: its experiment, and the plan of that experiment alone."""

    experiment: Experiment
    plan: ExperimentPlan

    @property
    def reads(self) -> FeatureRequest:
        """The features of the tower that it reads."""
        return self.experiment.reads

    def peak_bytes(self, stage: str) -> int:
        """Peak in a pack: in the shared `pass`, or while the `student` runs."""
        return round(self.plan.peak_memory_in_pack_gib[stage] * GIB)

    @property
    def tower_bytes(self) -> int:
        """Bytes of the tower's weights."""
        return round(self.plan.peak_memory_parts_gib["tower"] * GIB)

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of the optimizer state."""
        return round(self.plan.peak_memory_parts_gib["optimizer"] * GIB)

    @property
    def idle_bytes(self) -> int:
        """Bytes that a student holds while another one runs."""
        spec, gradients = self.experiment, 4 * self.plan.trainable_parameters
        buckets = gradients if spec.cluster.max_workers > 1 else 0
        # With gradient accumulation, gradients stay until the last part; otherwise the update frees them.
        summed = gradients if spec.optimization.accumulation > 1 else 0
        return round(self.plan.peak_memory_parts_gib["weights"] * GIB) + self.optimizer_bytes + buckets + summed


@dataclass(frozen=True)
class PackMemory:
    """Predicted memory of a pack on one worker, in bytes."""

    peak: int
    """Peak of allocated memory."""
    state: int
    """Optimizer state of all students (AdamW's two moments); part of the peak."""
    largest_alone: int
    """Largest peak of one of the students alone."""


@dataclass(frozen=True)
class PlannedPack:
    """Arms that train together on one stream of clips, and on one pass of each backbone."""

    arms: tuple[Arm, ...]
    memory: PackMemory
    speedup: float
    """Predicted time of the same arms one by one, divided by that of the pack."""
    folder: str = ""
    """Folder of its checkpoints, set before training. Training continues from the newest checkpoint there."""
    resume_from: tuple[Path, ...] = ()
    """Checkpoints of an earlier pack with these arms, newest first."""

    @property
    def pack_id(self) -> str:
        """Last part of `folder`."""
        return self.folder.rpartition("/")[2]

    @property
    def experiments(self) -> dict[str, Experiment]:
        """The experiment of each student, by student name (the short key of the arm)."""
        return {arm.short_key: arm.experiment for arm in self.arms}

    @property
    def backbones(self) -> int:
        """Number of different backbones, which run one after another."""
        return len({arm.experiment.backbone_key for arm in self.arms})

    @property
    def predicted(self) -> dict[str, float]:
        """The predictions, as MLflow metrics of each arm."""
        return {
            "plan/pack_peak_memory_gib": self.peak_gib,
            "plan/pack_arms": float(len(self.arms)),
            "plan/pack_speedup": self.speedup,
        }

    @property
    def peak_gib(self) -> float:
        """Predicted peak of one worker, GiB."""
        return as_gib(self.memory.peak)


def cached_planner(classes: int) -> Planner:
    """A planner that caches plans: arms that differ only in, say, the learning rate are planned once."""
    plans: dict[str, ExperimentPlan] = {}

    def plan(spec: Experiment) -> ExperimentPlan:
        key = _shape_key(spec)
        if key not in plans:
            plans[key] = plan_experiment(spec, classes=classes)
        return replace(plans[key], name=spec.name)

    return plan


def make_packs(arms: Sequence[Arm], spec: SweepSpec, planner: Planner) -> tuple[PlannedPack, ...]:
    """Group arms into packs, in the order of the arms.

    Arms are distinct; `spec` limits the arms of a pack and the memory of a device.

    Raises:
        InputError: An arm alone exceeds the memory limit.
    """
    packs: list[PlannedPack] = []
    for group in streams_of(arms):
        members = {arm.key: Member(arm.experiment, planner(arm.experiment)) for arm in group}
        _check_memory_limit(group, members, spec)
        for part in _split(group, members, spec):
            inside = [members[arm.key] for arm in part]
            packs.append(PlannedPack(tuple(part), plan_pack_memory(inside), _speedup(inside)))
    return tuple(packs)


def speedup(arms: Iterable[Arm], packs: Sequence[PlannedPack], planner: Planner) -> float:
    """Predicted time of the arms one by one, divided by the time of the packs. Repeated arms count each time."""
    apart = sum(sum(costs(Member(arm.experiment, planner(arm.experiment)))) for arm in arms)
    packed = sum(_packed_cost([Member(a.experiment, planner(a.experiment)) for a in pack.arms]) for pack in packs)
    return apart / packed if packed else 1.0


def streams_of(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that may share a stream of clips: same data, batches, workers and tracking.

    Those of a backbone are next to each other. Methods whose tower sees other frames of a clip are apart.
    """
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        spec = arm.experiment
        cluster = spec.cluster.model_dump(mode="json", exclude={"sync_batch_norm"})
        agreed = {
            **spec.shared(),
            "every": spec.reads.every,
            "cluster": cluster,
            "tracking": spec.tracking.model_dump(mode="json"),
        }
        key = json.dumps(agreed, sort_keys=True) if spec.method.packable else f"{arm.key} {arm.title}"
        groups.setdefault(key, []).append(arm)
    return [list(itertools.chain.from_iterable(_of_one_backbone(group))) for group in groups.values()]


def _split(group: list[Arm], members: Mapping[str, Member], spec: SweepSpec) -> list[list[Arm]]:
    """The fewest parts that the sweep and the memory limit allow, of nearly equal size."""
    size = _max_pack_size(group, spec)
    for count in range(ceil(len(group) / size), len(group) + 1):
        parts = _equal_parts(group, count)
        peaks = [as_gib(plan_pack_memory([members[arm.key] for arm in part]).peak) for part in parts]
        if spec.limits.memory_gib == "any" or max(peaks) <= spec.limits.memory_gib:
            return parts
    return [[arm] for arm in group]


def _max_pack_size(group: list[Arm], spec: SweepSpec) -> int:
    limit = spec.pack_limit
    if limit == "off":
        return 1
    size = len(group) if limit == "auto" else limit
    if spec.has_seats:
        return min(len(group), spec.seats)
    if spec.uses_epoch_results:
        # Every arm of a pack needs a running trial; otherwise the pack waits for a decision that never comes.
        size = min(size, spec.limits.virtual_trials)
    return size


def _equal_parts(group: list[Arm], count: int) -> list[list[Arm]]:
    bounds = [round(number * len(group) / count) for number in range(count + 1)]
    return [group[start:end] for start, end in itertools.pairwise(bounds)]


def _check_memory_limit(group: Iterable[Arm], members: Mapping[str, Member], spec: SweepSpec) -> None:
    limit = spec.limits.memory_gib
    for arm in group:
        peak = members[arm.key].plan.peak_memory_gib
        if limit != "any" and peak > limit:
            raise InputError(
                "limits.memory_gib",
                f"{limit:g}, and the arm {arm.title} alone is predicted to take {peak:.2f} GiB",
                allowed=f"{peak:.2f} and more",
                fix="raise it, or change the base: `side4video plan SPEC --budget-gib` says what helps",
            )


def costs(member: Member) -> tuple[float, float]:
    """F and C of the module docstring, in multiply-adds: of the frozen pass, and of the student."""
    share = RECOMPUTED.get(getattr(member.experiment.method, "recompute", "none"), 0.0)
    student = member.plan.multiply_adds_student * (FORWARD_AND_BACKWARD + share)
    # Cached features were computed before training, so a step does not pay for them.
    frozen = 0 if member.experiment.features.kind == "cached" else member.plan.multiply_adds_frozen
    return float(frozen), student


def _packed_cost(members: Sequence[Member]) -> float:
    # The shared pass of a backbone costs as much as the deepest one.
    passes = sum(max(costs(member)[0] for member in some) for some in _of_one_backbone(members))
    return passes + sum(costs(member)[1] for member in members)


def _of_one_backbone(some: Sequence[Trained]) -> list[list[Trained]]:
    """The arms, or members, of each backbone, in the order of their first one."""
    numbers = by_backbone(dict(enumerate(each.experiment for each in some)))
    return [[some[number] for number in group] for group in numbers.values()]


def _speedup(members: Sequence[Member]) -> float:
    return sum(sum(costs(member)) for member in members) / _packed_cost(members)


def _shape_key(spec: Experiment) -> str:
    optimization = spec.optimization.model_dump(mode="json", exclude=set(_NOT_IN_SHAPE_KEY))
    shape = {
        "backbone": spec.backbone.model_dump(mode="json", exclude={"weights"}),
        "is_fixed": spec.start is not None and not spec.start.trains,
        "method": spec.method.model_dump(mode="json"),
        "task": spec.task.model_dump(mode="json"),
        "data": spec.data.model_dump(mode="json"),
        "features": spec.features.model_dump(mode="json"),
        "optimization": optimization,
        "cluster": spec.cluster.model_dump(mode="json"),
    }
    return json.dumps(shape, sort_keys=True)


def plan_pack_memory(members: Sequence[Member]) -> PackMemory:
    """Predict the memory of a pack.

    The students share batch and workers, and those of one backbone its pass.
    """
    parts = _of_one_backbone(members)
    if len(parts) == 1:
        return _memory_of_one_pass(members)
    memory = [_memory_of_one_pass(part) for part in parts]
    between = [part[0].tower_bytes + sum(member.idle_bytes for member in part) for part in parts]
    return PackMemory(
        peak=max(each.peak + sum(between) - own for each, own in zip(memory, between, strict=True)),
        state=sum(each.state for each in memory),
        largest_alone=max(each.largest_alone for each in memory),
    )


def _memory_of_one_pass(members: Sequence[Member]) -> PackMemory:
    union = reduce(or_, (member.reads for member in members))
    idle = sum(member.idle_bytes for member in members)
    extra = [
        idle - member.idle_bytes + _token_bytes(member.experiment, union) - _own_token_bytes(member)
        for member in members
    ]
    # The pass of the deepest student that reads most is the shared pass, except for tokens that only others read.
    first = max(range(len(members)), key=lambda number: (_depth(members[number]), _own_token_bytes(members[number])))
    during_pass = members[first].peak_bytes("pass") + extra[first]
    after_pass = max(member.peak_bytes("student") + more for member, more in zip(members, extra, strict=True))
    largest_alone = max(round(member.plan.peak_memory_gib * GIB) for member in members)
    return PackMemory(
        peak=max(during_pass, after_pass) if len(members) > 1 else largest_alone,
        state=sum(member.optimizer_bytes for member in members),
        largest_alone=largest_alone,
    )


def _depth(member: Member) -> int:
    """Index of the last block that the frozen pass must run for it; -1 if none."""
    reads, last = member.reads, member.experiment.tower.depth - 1
    return last if reads.needs_last_block else max(reads.tokens | reads.attention, default=-1)


def _own_token_bytes(member: Member) -> int:
    return _token_bytes(member.experiment, member.reads)


def _token_bytes(spec: Experiment, request: FeatureRequest) -> int:
    """Bytes of the frozen tokens and pooled features that one frozen pass keeps."""
    layouts = entry_layouts(
        spec.tower,
        request,
        frames=spec.data.frames,
        dtype=torch.float32 if spec.backbone.precision == "fp32" else torch.bfloat16,
        keeps_int8=spec.backbone.kept_tokens == "8-bit",
    )
    return spec.clips_per_part * sum(tensor.nbytes for layout in layouts.values() for tensor in layout.values())
