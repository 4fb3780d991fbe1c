"""A pack's predicted memory, composed of what its students take alone, against the whole pack counted outright."""

import functools
import json

import pytest

from pack_trace import CLASSES, trace_pack
from side4video.core.units import GIB
from side4video.planning.allocator import ROUNDING
from side4video.planning.memory import WORKSPACE
from side4video.planning.meta_model import build_meta_model
from side4video.planning.packs import Member, plan_pack_memory
from side4video.planning.plan import plan_experiment
from tiny import tiny

SIDE = {"kind": "side4video", "layers": 2, "dim": 64}
METHODS = {
    "side": SIDE,
    "short": {**SIDE, "layers": 1, "fusion": "top"},
    "wide": {**SIDE, "dim": 128},
    "whole": {**SIDE, "recompute": "none"},
    "selective": {**SIDE, "recompute": "selective"},
    "evl": {"kind": "evl", "layers": 2},
    "dist": {"kind": "dist", "dim": 64, "temporal_dim": 16},
    "lst": {"kind": "lst"},
    "attentive": {"kind": "attentive", "heads": 4, "queries": 2, "layers": 1},
    "linear": {"kind": "linear"},
}
PARTS = {"optimization": {"accumulation": 2}}
EIGHT_BITS = {"backbone": {"kept_tokens": "8-bit"}}
CASES = [
    # the students, and what their documents agree on
    ("side side", {}),
    ("lst evl attentive linear side", {}),
    ("evl linear", {}),
    ("dist dist", {}),
    ("lst evl attentive linear side", PARTS),
    ("side short wide", PARTS),
    ("linear linear linear", PARTS),
    ("lst evl attentive linear side", EIGHT_BITS),
    ("whole selective side", EIGHT_BITS),
    ("evl linear", EIGHT_BITS | PARTS),
    ("side linear lst", {"features": {"kind": "cached", "views": 2}}),
    ("lst linear attentive", {"cluster": {"workers": 2}}),
    ("lst linear", {"optimization": {"average": {"kind": "moving-average"}}}),
    ("lst linear", {"optimization": {"precision": "bf16"}, "backbone": {"precision": "bf16"}}),
]


def documents(names, changes):
    return [tiny(method=METHODS[name], **changes) for name in names.split()]


@functools.cache
def plan(text):
    name, changes = json.loads(text)
    return plan_experiment(*documents(name, changes), classes=CLASSES)


def members(names, changes, kind=Member):
    plans = [plan(json.dumps([name, changes])) for name in names.split()]
    return [kind(spec, each) for spec, each in zip(documents(names, changes), plans, strict=True)]


def composed(names, changes, kind=Member):
    return plan_pack_memory(members(names, changes, kind)).peak - WORKSPACE


@functools.cache
def counted(text):
    names, changes = json.loads(text)
    return trace_pack(documents(names, changes))


def error(names, changes, kind=Member):
    """By which share the composition is above what is counted."""
    return composed(names, changes, kind) / counted(json.dumps([names, changes])) - 1


def roundings(names, changes):
    """What the allocator rounds gradients up by, at most, as a share: the composition adds numbers, not storages."""
    trained = 0
    for spec in documents(names, changes):
        weights = build_meta_model(spec, classes=CLASSES).module.parameters()
        trained += sum(parameter.requires_grad for parameter in weights)
    return trained * ROUNDING / counted(json.dumps([names, changes]))


@pytest.mark.parametrize(
    ("names", "changes"), CASES, ids=lambda value: value if isinstance(value, str) else json.dumps(value)
)
def test_a_pack_takes_what_is_composed_or_up_to_a_tenth_less(names, changes):
    assert -roundings(names, changes) <= error(names, changes) <= 0.1


@pytest.mark.parametrize("name", ["side", "linear"])
def test_a_student_alone_takes_what_its_own_plan_says(name):
    assert composed(name, {}) == counted(json.dumps([name, {}]))


# ---- twins


class ForgetsTokens(Member):
    """As long as nobody else reads them, a student lets go of them before its backward."""

    def peak_bytes(self, stage):
        return round(self.plan.peak_memory_gib * GIB)


def test_twin_that_forgets_the_tokens_that_others_still_read():
    assert error("side side", {}, ForgetsTokens) < -0.005


class ForgetsGradients(Member):
    @property
    def idle_bytes(self):
        return super().idle_bytes - 4 * self.plan.trainable_parameters


def test_twin_that_forgets_the_gradients_of_a_batch_in_parts():
    case = ("wide short", PARTS)
    assert error(*case, ForgetsGradients) < -5 * roundings(*case)


class ForgetsMoments(Member):
    @property
    def idle_bytes(self):
        return super().idle_bytes - self.optimizer_bytes


def test_twin_that_forgets_the_others_moments():
    assert error("side side", {}, ForgetsMoments) < -0.1


def test_twin_that_adds_students_up():
    """A pack is not the sum of its students."""
    alone = sum(member.plan.peak_memory_gib * GIB - WORKSPACE for member in members("evl linear", {}))
    assert alone / counted(json.dumps(["evl linear", {}])) - 1 > 0.1


def test_twin_whose_students_keep_their_graphs():
    names = "whole whole whole"
    assert trace_pack(documents(names, {}), keeps_graphs=True) > 1.5 * composed(names, {})


# ---- nine arms

NINE = ["side " * 8 + "side", "side short wide whole selective evl lst attentive linear"]
LARGE = {"optimization": {"batch_size": 32}}
"""Enough clips that activations outweigh weights, as they do at true sizes."""


def growth(names, changes=LARGE, kind=Member):
    """What a pack takes over what its largest student takes alone, optimizers' state apart."""
    pack = plan_pack_memory(members(names, changes, kind))
    plans = [member.plan for member in members(names, changes)]
    alone = max((each.peak_memory_gib - each.peak_memory_parts_gib["optimizer"]) * GIB for each in plans)
    return (pack.peak - pack.state - WORKSPACE) / (alone - WORKSPACE)


@pytest.mark.parametrize("names", NINE)
def test_nine_arms_take_at_most_half_more_than_the_largest(names):
    assert len(names.split()) == 9
    assert growth(names) <= 1.5


class HoldsActivations(Member):
    @property
    def idle_bytes(self):
        return super().idle_bytes + round(self.plan.held_for_backward_gib * GIB)


def test_twin_whose_waiting_students_hold_what_a_running_one_does():
    assert growth(NINE[0], kind=HoldsActivations) > 1.5


def test_state_is_the_moments_of_all():
    together = members("side linear", {})
    moments = 8 * sum(member.plan.trainable_parameters for member in together)
    assert plan_pack_memory(together).state == pytest.approx(moments, rel=0.01)
