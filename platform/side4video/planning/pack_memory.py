"""Memory of a pack, from what its students take alone.

While one student runs, the others hold their weights and their optimizers' state, and the tokens that they read of
the frozen pass; nothing else of theirs is there. So a pack's peak is the largest student's peak, and these beside it.
Two things differ from a student alone: it lets go of the tokens before its backward, and in a pack others still read
them; and the pass runs once for all, as deep as the deepest reader.
"""

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
    waiting = sum(_waiting_bytes(member) for member in members)
    beside = [
        waiting - _waiting_bytes(member) + _token_bytes(member.experiment, united) - _own_token_bytes(member)
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


def _waiting_bytes(member: Member) -> int:
    """What a student holds while another one runs."""
    parts, spec = member.plan.peak_memory_parts_gib, member.experiment
    gradients = 4 * member.plan.trainable_parameters
    buckets = gradients if spec.cluster.most_workers > 1 else 0
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
    return spec.clips_of_a_part * sum(tensor.nbytes for layout in layouts.values() for tensor in layout.values())
