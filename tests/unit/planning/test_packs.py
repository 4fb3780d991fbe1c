"""Which arms share a pass of the backbone, what that saves, and how many fit."""

import functools
import json
from dataclasses import replace

import pytest

import sweeps
from side4video.core.errors import InputError
from side4video.core.units import GIB
from side4video.planning import packs as packs_module
from side4video.planning.packs import Member, cached_planner, make_packs, plan_pack_memory, speedup
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.check import check_consistency
from side4video.spec.experiment import Experiment
from tiny import merged, tiny

FROZEN, STUDENT = 1000, 100
TRAINED = 3 * STUDENT
"""Multiply-adds of a student's step: forward, and backward of twice its work."""


def made_up(peak=1.0, weights=0.1, optimizer=0.2, frozen=FROZEN, student=STUDENT):
    """A plan of round numbers; GiB."""
    parts = {"tower": 0.3, "weights": weights, "optimizer": optimizer}
    return ExperimentPlan(
        name="made up",
        classes=10,
        trainable_parameters=0,
        tower_parameters=0,
        multiply_adds=frozen + student,
        multiply_adds_frozen=frozen,
        multiply_adds_student=student,
        views=1,
        multiply_adds_all_views=frozen + student,
        held_for_backward_gib=0.0,
        peak_memory_gib=peak,
        peak_memory_in_pack_gib={"pass": 0.9 * peak, "student": peak},
        peak_memory_parts_gib=parts,
        peak_memory_phase="forward or backward",
        reserved_memory_gib=peak,
        estimates={},
    )


def alike(spec):
    return made_up()


def make(changes=None, **sweep):
    return sweeps.make_sweep("s", merged({"seed": 0, "method": {"recompute": "none"}}, changes or {}), **sweep)


def rates(count):
    """A sweep's way of so many arms, with a learning rate each."""
    return {"grid": {"optimization.learning_rate": [1e-3 * (number + 1) for number in range(count)]}}


def packs_of(planner=alike, changes=None, *, kind=Experiment, **sweep):
    made = make(changes, **sweep)
    arms = [replace(arm, experiment=kind.model_construct(**dict(arm.experiment))) for arm in made.arms]
    return make_packs(arms, made.spec, planner)


def sizes(planner=alike, changes=None, **sweep):
    return [len(pack.arms) for pack in packs_of(planner, changes, **sweep)]


def rows(*changes):
    """Arms with these overrides, beside the base."""
    arms = [{"label": str(number), "overrides": each} for number, each in enumerate(({}, *changes))]
    return {"tables": {"t": {"arms": arms}}}


# ---- who may share a pass

TOGETHER = [
    {"optimization.learning_rate": 1e-5},
    {"optimization.weight_decay": 0.3},
    {"optimization.precision": "bf16"},
    {"optimization.warmup": {"steps": 2}},
    {"optimization.average": {"kind": "moving-average"}},
    {"optimization.clipping": {"kind": "norm"}},
    {"seed": 1},
    {"method.layers": 1},
    {"method.dim": 128},
    {"method.fusion": "top", "method.layers": 1},
    {"method.recompute": "block"},
    {"method": {"kind": "linear"}},
    {"method": {"kind": "lst"}},
    {"method": {"kind": "evl", "layers": 1}},
    {"task.label_smoothing": 0.3},
    {"task.dropout": 0.5},
]
APART = [
    {"data.frames": 8},
    {"data.seed": 1},
    {"data.sampling": {"kind": "dense"}},
    {"data.train_fraction": 0.5},
    {"optimization.batch_size": 4},
    {"optimization.accumulation": 2},
    {"optimization.length": {"epochs": 3}},
    {"cluster.workers": 2},
    # Alone the next two change no result, so the arm would be the base's.
    {"cluster.cpus_per_worker": 2, "optimization.learning_rate": 2e-5},
    {"tracking.experiment": "another", "optimization.learning_rate": 3e-5},
    {"evaluation.every_epochs": 2},
    {"features": {"kind": "cached", "views": 2}},
    {"method": {"kind": "dist", "dim": 64, "temporal_dim": 16}},
    {"method": {"kind": "full"}},
    {"method": {"kind": "aim"}},
    {"method": {"kind": "st-adapter", "dim": 16}},
]


OTHER_BACKBONES = [
    {"backbone.precision": "bf16"},
    {"backbone.kept_tokens": "8-bit"},
    {"backbone.weights.seed": 1},
]


def shares_a_pass(changes, **options):
    """Whether an arm with these overrides stands in the base's pack."""
    return sizes(**rows(changes), **options) == [2]


@pytest.mark.parametrize("changes", TOGETHER, ids=json.dumps)
def test_what_only_the_student_sees_shares_a_pass(changes):
    assert shares_a_pass(changes)


@pytest.mark.parametrize("changes", APART, ids=json.dumps)
def test_what_the_pass_sees_does_not(changes):
    assert not shares_a_pass(changes)


@pytest.mark.parametrize("changes", OTHER_BACKBONES, ids=json.dumps)
def test_another_backbone_shares_the_clips(changes):
    (pack,) = packs_of(**rows(changes))
    assert pack.backbones == 2
    cached = {"features": {"kind": "cached", "views": 2}}
    assert [each.backbones for each in packs_of(changes=cached, **rows(changes))] == [1, 1]


def towers(*seeds):
    """A sweep over towers and learning rates, two arms of each tower."""
    return {"grid": {"optimization.learning_rate": [1e-3, 2e-3], "backbone.weights.seed": list(seeds)}}


def test_arms_of_one_backbone_are_next_to_each_other():
    (pack,) = packs_of(**towers(1, 2, 3))
    assert [arm.experiment.backbone.weights.seed for arm in pack.arms] == [1, 1, 2, 2, 3, 3]
    assert pack.backbones == 3
    parts = packs_of(**towers(1, 2, 3), packing=2)
    assert [part.backbones for part in parts] == [1, 1, 1]


def test_several_backbones_hold_their_weights_and_those_of_their_students():
    (pack,) = packs_of(**towers(1, 2, 3))
    # Alone 1 GiB; 0.3 for each further student of the tower that runs; of two others, 0.3 of tower and twice 0.3.
    assert pack.peak_gib == pytest.approx(1.0 + 0.3 + 2 * (0.3 + 2 * 0.3))
    fitting = packs_of(**towers(1, 2, 3), limits={"memory_gib": 1.4})
    assert [part.backbones for part in fitting] == [1, 1, 1]


def test_several_backbones_have_a_pass_each():
    (pack,) = packs_of(**towers(1, 2, 3))
    assert pack.speedup == pytest.approx(6 * (FROZEN + TRAINED) / (3 * FROZEN + 6 * TRAINED))


class SharesNothing(Experiment):
    """An experiment that names no field which students of a pack share."""

    def shared(self):
        return {}


def test_twin_that_overlooks_what_the_pass_sees():
    changed = ({"data.seed": 1}, {"optimization.batch_size": 4})
    assert all(shares_a_pass(changes, kind=SharesNothing) for changes in changed)


def test_a_method_that_changes_the_tower_trains_alone():
    full = {"method": {"kind": "full"}}
    assert sizes(**rows(full, {**full, "optimization.learning_rate": 1e-5})) == [1, 1, 1]


def test_dist_shares_a_pass_with_its_like():
    dist = {"method": {"kind": "dist", "dim": 64, "temporal_dim": 16}}
    packs = packs_of(**rows(dist, {"method.layers": 1}, {**dist, "optimization.learning_rate": 1e-5}))
    assert [[arm.label for arm in pack.arms] for pack in packs] == [["0", "2"], ["1", "3"]]


def everything():
    """A pack of each kind, from one sweep."""
    made = make(**rows(*TOGETHER, *APART, *OTHER_BACKBONES))
    return made, make_packs(made.arms, made.spec, alike)


def test_every_arm_stands_in_one_pack_and_keeps_its_order():
    made, packs = everything()
    place = {arm.key: number for number, arm in enumerate(made.arms)}
    found = [[place[arm.key] for arm in pack.arms] for pack in packs]
    assert sorted(number for pack in found for number in pack) == list(range(len(made.arms)))
    assert all(pack == sorted(pack) for pack in found)


def refused(packs):
    """Packs that a run would refuse."""
    found = []
    for pack in packs:
        try:
            experiments = {arm.short_key: Experiment.model_construct(**dict(arm.experiment)) for arm in pack.arms}
            check_consistency(experiments)
        except InputError:
            found.append(pack)
    return found


def test_every_pack_is_one_that_a_run_takes():
    _, packs = everything()
    assert max(len(pack.arms) for pack in packs) == len(TOGETHER) + 1 + len(OTHER_BACKBONES)
    assert refused(packs) == []


def test_twin_that_looks_at_the_frames_alone():
    assert refused(packs_of(kind=SharesNothing, **rows(*TOGETHER, *APART)))


# ---- how many


@pytest.mark.parametrize(
    ("packing", "found"), [("auto", [7]), ("off", [1] * 7), (1, [1] * 7), (2, [2, 2, 2, 1]), (4, [4, 3]), (9, [7])]
)
def test_packing_says_how_many_share_a_pass(packing, found):
    assert sorted(sizes(**rates(7), packing=packing), reverse=True) == found


def misfits(count, most, parts=None):
    """Whether parts are too large, too many, or of unequal size."""
    parts = parts or sizes(**rates(count), packing=most)
    return max(parts) > most or len(parts) != -(-count // most) or max(parts) - min(parts) > 1 or sum(parts) != count


ALL_SIZES = [(count, most) for count in range(1, 12) for most in range(1, 12)]


def test_parts_are_as_few_as_may_be_and_nearly_equal():
    assert [pair for pair in ALL_SIZES if misfits(*pair)] == []


def test_twin_that_fills_one_pack_after_another():
    def fill(count, most):
        return [min(most, count - start) for start in range(0, count, most)]

    assert [pair for pair in ALL_SIZES if misfits(*pair, fill(*pair))]


@pytest.mark.parametrize(
    ("decides", "found"), [({}, [9]), ({"scheduler": "asha"}, [5, 4]), ({"scheduler": "asha", "packing": 3}, [3, 3, 3])]
)
def test_where_somebody_decides_a_pack_has_no_more_arms_than_there_are_trials(decides, found):
    got = sizes(**rates(9), limits={"virtual_trials": 5}, **decides)
    assert sorted(got, reverse=True) == found


# ---- memory


@pytest.mark.parametrize(
    ("limit", "found"),
    # Alone 1 GiB, and 0.3 GiB of weights and moments for each further arm.
    [("any", [9]), (3.41, [9]), (3.39, [5, 4]), (1.61, [3, 3, 3]), (1.31, [2, 2, 2, 2, 1]), (1.0, [1] * 9)],
)
def test_a_pack_over_the_limit_is_split_until_every_part_fits(limit, found):
    packs = packs_of(**rates(9), limits={"memory_gib": limit})
    assert sorted((len(pack.arms) for pack in packs), reverse=True) == found
    assert [pack.peak_gib for pack in packs] == pytest.approx([1.0 + 0.3 * (len(pack.arms) - 1) for pack in packs])


def uneven(spec):
    """Wide arms take more."""
    return made_up(peak=spec.method.dim / 64, weights=spec.method.dim / 640, optimizer=spec.method.dim / 320)


def over(limit):
    dims = {"grid": {"method.dim": [64, 64 * 9, 128, 320, 192, 256, 64 * 7]}}
    return [pack for pack in packs_of(uneven, **dims, limits={"memory_gib": limit}) if pack.peak_gib > limit]


LIMITS = [9.0, 9.5, 10.0, 11.0, 13.0]


@pytest.mark.parametrize("limit", LIMITS)
def test_no_part_is_over_the_limit_whatever_its_arms_take(limit):
    assert over(limit) == []


def test_twin_that_looks_at_the_largest_arm_alone():
    dims = {"grid": {"method.dim": [64, 128, 320]}}
    memory = plan_pack_memory([Member(arm.experiment, uneven(arm.experiment)) for arm in make(**dims).arms])
    assert memory.largest_alone <= 5.1 * GIB < memory.peak
    assert len(packs_of(uneven, **dims, limits={"memory_gib": 5.1})) > 1


def test_an_arm_that_does_not_fit_alone_is_an_error_with_the_way_out():
    with pytest.raises(InputError) as caught:
        packs_of(uneven, grid={"method.dim": [64, 320]}, limits={"memory_gib": 4.5})
    line = str(caught.value)
    for word in (
        "limits.memory_gib: 4.5",
        "the arm dim=320 alone",
        "5.00 GiB",
        "allowed: 5.00 and more",
        "fix: raise it",
    ):
        assert word in line, line


# ---- what it saves


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_equal_arms_save_the_pass_of_all_but_one(count):
    made = make(**rates(count))
    packs = make_packs(made.arms, made.spec, alike)
    formula = count * (FROZEN + TRAINED) / (FROZEN + count * TRAINED)
    assert [pack.speedup for pack in packs] == pytest.approx([formula])
    assert speedup(made.arms, packs, alike) == pytest.approx(formula)


def unequal(spec):
    """A pass as deep as the layers that are read, and students as large as they are wide."""
    return made_up(frozen=1000 * spec.method.layers, student=spec.method.dim)


def summed(arms, packs):
    """The same from the definition: each arm's pass and step, over each pack's deepest pass and all its steps."""
    cost = {arm.key: (1000 * arm.experiment.method.layers, 3.75 * arm.experiment.method.dim) for arm in arms}
    apart = sum(sum(cost[arm.key]) for arm in arms)
    together = 0
    for pack in packs:
        passes, steps = zip(*(cost[arm.key] for arm in pack.arms), strict=True)
        together += max(passes) + sum(steps)
    return apart / together


@pytest.mark.parametrize("packing", ["auto", 2, "off"])
def test_unequal_arms_save_all_passes_but_the_deepest(packing):
    grid = {"grid": {"method.layers": [1, 2], "method.dim": [64, 128, 192]}}
    made = make({"method": {"recompute": "block"}}, **grid, packing=packing)
    packs = make_packs(made.arms, made.spec, unequal)
    assert speedup(made.arms, packs, unequal) == pytest.approx(summed(made.arms, packs))
    assert (speedup(made.arms, packs, unequal) == 1.0) == (packing == "off")


def test_rows_that_stand_twice_were_to_run_twice():
    made = make(**rates(2))
    packs = make_packs(made.arms, made.spec, alike)
    one, other = made.arms
    assert speedup([one, one, one, other], packs, alike) == pytest.approx(2 * speedup(made.arms, packs, alike))


def test_nothing_to_train_saves_nothing():
    assert speedup([], [], alike) == 1.0


def test_features_that_are_read_are_no_pass_that_could_be_saved():
    cached = {"features": {"kind": "cached", "views": 2}}
    assert packs_of(changes=cached, **rates(5))[0].speedup == pytest.approx(1.0)


# ---- plans by shape


@pytest.fixture
def planned(monkeypatch):
    """The list of the experiments that planners plan."""
    planned = []

    def plan(spec, *, classes):
        planned.append(spec)
        return replace(made_up(), name=spec.name, classes=classes)

    monkeypatch.setattr(packs_module, "plan_experiment", plan)
    return planned


OF_ONE_SHAPE = [
    {"optimization": {"learning_rate": 1e-5, "weight_decay": 0.5, "betas": [0.8, 0.9], "epsilon": 1e-6}},
    {"optimization": {"length": {"epochs": 9}, "warmup": {"steps": 3}, "head_learning_rate_factor": 10.0}},
    {"seed": 4},
    {"backbone": {"weights": {"kind": "random", "seed": 3}}},
    {"tracking": {"run_name": "other"}},
]
OF_OTHER_SHAPES = [
    {"method": {"layers": 1}},
    {"method": {"dim": 128}},
    {"method": {"recompute": "none"}},
    {"optimization": {"batch_size": 4}},
    {"optimization": {"precision": "bf16"}},
    {"optimization": {"accumulation": 2}},
    {"optimization": {"average": {"kind": "moving-average"}}},
    {"backbone": {"kept_tokens": "8-bit"}},
    {"data": {"frames": 8}},
    {"features": {"kind": "cached", "views": 2}},
    {"cluster": {"workers": 2}},
]


def test_arms_of_one_shape_are_planned_once(planned):
    plan = cached_planner(10)
    for changes in ({}, *OF_ONE_SHAPE):
        assert plan(tiny(name="mine", **changes)).name == "mine"
    assert len(planned) == 1


def test_arms_of_other_shapes_are_not(planned):
    plan = cached_planner(10)
    for changes in ({}, *OF_OTHER_SHAPES, *OF_OTHER_SHAPES):
        plan(tiny(**changes))
    assert len(planned) == len(OF_OTHER_SHAPES) + 1


def test_a_sweep_over_learning_rates_is_planned_once(planned):
    made = make(**rates(9), seeds=3)
    planner = cached_planner(10)
    packs = make_packs(made.arms, made.spec, planner)
    speedup(made.arms, packs, planner)
    assert len(planned) == 1


def test_a_plan_by_shape_is_the_arms_own_plan():
    plan, probe = cached_planner(10), {"method": {"kind": "linear"}}
    plan(tiny(**probe))
    spec = tiny(name="mine", **functools.reduce(merged, OF_ONE_SHAPE, probe))
    assert plan(spec) == plan_experiment(spec, classes=10)


def test_twin_whose_shape_is_the_method_alone(planned, monkeypatch):
    monkeypatch.setattr(packs_module, "_shape_key", lambda spec: spec.method.model_dump_json())
    plan = cached_planner(10)
    for changes in ({}, *OF_OTHER_SHAPES):
        plan(tiny(**changes))
    assert len(planned) < len(OF_OTHER_SHAPES) + 1
