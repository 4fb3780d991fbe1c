"""Which arms share a pass of the frozen backbone, and what that saves.

Costs are counted in multiply-adds of one clip: F of the frozen pass, C of a student's training step (a forward and a
backward of twice its work, and what it computes again). K arms alone take the sum of F + C; in a pack F is paid once:
for equal arms K(F + C) / (F + K C).
"""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from side4video.core.errors import InputError
from side4video.core.units import as_gib
from side4video.planning.estimates import FORWARD_AND_BACKWARD, RECOMPUTED
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec
from side4video.spec.arm import Arm
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
import torch
from side4video.core.units import GIB
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import entry_layouts
from side4video.planning.plan import ExperimentPlan
from side4video.spec.experiment import Experiment

MIN_SPEEDUP = 1.05
"""What packing saves of the backbone is worth a word from here on."""

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
"""Fields of the optimization that change nothing of what a step takes."""


@dataclass(frozen=True)
class PlannedPack:
    """Arms that train on one pass of the backbone."""

    arms: tuple[Arm, ...]
    memory: PackMemory
    speedup: float
    """Predicted against the same arms one by one."""
    folder: str = ""
    """Where its checkpoints go, once it is to train; it continues from the newest one there."""
    resume_from: tuple[Path, ...] = ()
    """Checkpoints, newest first, of another pack that held these arms."""

    @property
    def pack_id(self) -> str:
        """The last part of its folder."""
        return self.folder.rpartition("/")[2]

    @property
    def experiments(self) -> dict[str, Experiment]:
        """By student name, which is the short key of the arm."""
        return {arm.short_key: arm.experiment for arm in self.arms}

    @property
    def predicted(self) -> dict[str, float]:
        """Its planned figures, as metrics of each of its arms."""
        return {
            "plan/pack_peak_memory_gib": self.peak_gib,
            "plan/pack_arms": float(len(self.arms)),
            "plan/pack_speedup": self.speedup,
        }

    @property
    def peak_gib(self) -> float:
        """The predicted peak of a worker, GiB."""
        return as_gib(self.memory.peak)


def cached_planner(classes: int) -> Planner:
    """A planner that plans experiments of the same shapes once: arms of one learning rate or another are alike."""
    known: dict[str, ExperimentPlan] = {}

    def plan(spec: Experiment) -> ExperimentPlan:
        key = _shape_key(spec)
        if key not in known:
            known[key] = plan_experiment(spec, classes=classes)
        return replace(known[key], name=spec.name)

    return plan


def make_packs(arms: Sequence[Arm], spec: SweepSpec, planner: Planner) -> tuple[PlannedPack, ...]:
    """Put arms into packs, in their order.

    Args:
        arms: Distinct arms.
        spec: Says how many may share a pass, and what a worker's device holds.
        planner: Plans one experiment.

    Raises:
        InputError: If an arm does not fit the memory by itself.
    """
    packs: list[PlannedPack] = []
    for group in _groups(arms):
        members = {arm.key: Member(arm.experiment, planner(arm.experiment)) for arm in group}
        _check_memory_limit(group, members, spec)
        for part in _split(group, members, spec):
            inside = [members[arm.key] for arm in part]
            packs.append(PlannedPack(tuple(part), plan_pack_memory(inside), _speedup(inside)))
    return tuple(packs)


def speedup(arms: Iterable[Arm], packs: Sequence[PlannedPack], planner: Planner) -> float:
    """Predicted time of runs one by one over that of the packs; an arm that is given twice was to run twice."""
    apart = sum(sum(_costs(Member(arm.experiment, planner(arm.experiment)))) for arm in arms)
    packed = sum(_packed_cost([Member(a.experiment, planner(a.experiment)) for a in pack.arms]) for pack in packs)
    return apart / packed if packed else 1.0


def _groups(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that may share a pass, together: all that the pass, the batches and the workers depend on is the same."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        spec = arm.experiment
        every = spec.reads.every
        cluster = spec.cluster.model_dump(mode="json", exclude={"sync_batch_norm"})
        agreed = {
            **spec.shared(),
            "every": every,
            "cluster": cluster,
            "tracking": spec.tracking.model_dump(mode="json"),
        }
        key = json.dumps(agreed, sort_keys=True) if spec.method.packable else f"{arm.key} {arm.title}"
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _split(group: list[Arm], members: Mapping[str, Member], spec: SweepSpec) -> list[list[Arm]]:
    """As few parts as the document and the memory allow, of nearly equal size."""
    most = _max_pack_size(group, spec)
    for count in range(ceil(len(group) / most), len(group) + 1):
        parts = _equal_parts(group, count)
        peaks = [as_gib(plan_pack_memory([members[arm.key] for arm in part]).peak) for part in parts]
        if spec.limits.memory_gib == "any" or max(peaks) <= spec.limits.memory_gib:
            return parts
    return [[arm] for arm in group]


def _max_pack_size(group: list[Arm], spec: SweepSpec) -> int:
    if spec.packing == "off":
        return 1
    most = len(group) if spec.packing == "auto" else spec.packing
    if spec.uses_epoch_results:
        # Each arm of a pack must have its trial, or the others would wait for a decision that nobody takes.
        most = min(most, spec.limits.virtual_trials)
    return most


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


def _costs(member: Member) -> tuple[float, float]:
    """F and C."""
    share = RECOMPUTED.get(getattr(member.experiment.method, "recompute", "none"), 0.0)
    student = member.plan.multiply_adds_student * (FORWARD_AND_BACKWARD + share)
    # Features that are read from disk were computed before; nobody pays for them in a step.
    frozen = 0 if member.experiment.features.kind == "cached" else member.plan.multiply_adds_frozen
    return float(frozen), student


def _packed_cost(members: Sequence[Member]) -> float:
    # The pass goes as deep as the deepest reader's.
    return max(_costs(member)[0] for member in members) + sum(_costs(member)[1] for member in members)


def _speedup(members: Sequence[Member]) -> float:
    return sum(sum(_costs(member)) for member in members) / _packed_cost(members)


def _shape_key(spec: Experiment) -> str:
    optimization = spec.optimization.model_dump(mode="json", exclude=set(_NOT_IN_SHAPE_KEY))
    shape = {
        "backbone": spec.backbone.model_dump(mode="json", exclude={"weights"}),
        "method": spec.method.model_dump(mode="json"),
        "task": spec.task.model_dump(mode="json"),
        "data": spec.data.model_dump(mode="json"),
        "features": spec.features.model_dump(mode="json"),
        "optimization": optimization,
        "cluster": spec.cluster.model_dump(mode="json"),
    }
    return json.dumps(shape, sort_keys=True)

@dataclass(frozen=True)
class Member:
    """A student of a pack that is planned: its document, and its plan alone."""

    experiment: Experiment
    plan: ExperimentPlan

    @property
    def reads(self) -> FeatureRequest:
        """What it reads of the tower."""
        return self.experiment.reads


@dataclass(frozen=True)
class PackMemory:
    """Bytes on one worker."""

    peak: int
    """The most that is handed out at a time."""
    state: int
    """Of it: what optimizers keep between steps (AdamW's moments)."""
    largest_alone: int
    """The peak of the student that takes most alone."""


def plan_pack_memory(members: Sequence[Member]) -> PackMemory:
    """Predict a pack's peak.

    Args:
        members: Its students; they agree on backbone, batch and workers.
    """
    united = reduce(or_, (member.reads for member in members))
    waiting = sum(_idle_bytes(member) for member in members)
    beside = [
        waiting - _idle_bytes(member) + _token_bytes(member.experiment, united) - _own_token_bytes(member)
        for member in members
    ]
    # Whoever goes deepest and reads most has the pass of all, but for what only others read.
    first = max(range(len(members)), key=lambda number: (_depth(members[number]), _own_token_bytes(members[number])))
    through = _peak_bytes(members[first], "pass") + beside[first]
    after = max(_peak_bytes(member, "student") + more for member, more in zip(members, beside, strict=True))
    largest_alone = max(round(member.plan.peak_memory_gib * GIB) for member in members)
    return PackMemory(
        peak=max(through, after) if len(members) > 1 else largest_alone,
        state=sum(_optimizer_bytes(member) for member in members),
        largest_alone=largest_alone,
    )


def _peak_bytes(member: Member, stage: str) -> int:
    return round(member.plan.peak_memory_in_pack_gib[stage] * GIB)


def _depth(member: Member) -> int:
    """The last block that the pass runs for it."""
    reads, last = member.reads, member.experiment.tower.depth - 1
    return last if reads.needs_last_block else max(reads.tokens | reads.attention, default=-1)


def _optimizer_bytes(member: Member) -> int:
    return round(member.plan.peak_memory_parts_gib["optimizer"] * GIB)


def _idle_bytes(member: Member) -> int:
    """What a student holds while another one runs."""
    parts, spec = member.plan.peak_memory_parts_gib, member.experiment
    gradients = 4 * member.plan.trainable_parameters
    buckets = gradients if spec.cluster.max_workers > 1 else 0
    # The gradients of a batch in parts wait for its last part; those of a whole batch are gone with the update.
    summed = gradients if spec.optimization.accumulation > 1 else 0
    return round(parts["weights"] * GIB) + _optimizer_bytes(member) + buckets + summed


def _own_token_bytes(member: Member) -> int:
    return _token_bytes(member.experiment, member.reads)


def _token_bytes(spec: Experiment, request: FeatureRequest) -> int:
    """Bytes of the frozen tokens and pooled features that one frozen pass keeps."""
    layouts = entry_layouts(
        spec.tower,
        request,
        frames=spec.data.frames,
        dtype=torch.float32 if spec.backbone.precision == "fp32" else torch.bfloat16,
        keeps_eight_bits=spec.backbone.kept_tokens == "8-bit",
    )
    return spec.clips_per_part * sum(tensor.nbytes for layout in layouts.values() for tensor in layout.values())

