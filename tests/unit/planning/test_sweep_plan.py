"""The quote of a sweep: what it asks for, what is done, what is packed, and what that saves."""

import json

import pytest

import sweeps
from side4video.planning.packs import cached_planner, make_packs
from side4video.planning.sweep import plan_sweep
from tiny import merged

PROBE = {"method": {"kind": "linear"}, "seed": 0}
"""A base that is planned in a moment."""
RATES = {"grid": {"optimization.learning_rate": [1e-3, 2e-3, 3e-3, 4e-3]}}
SPACE = {"optimization.learning_rate": {"kind": "log-uniform", "low": 1e-5, "high": 1e-2}}
TWICE = {
    "tables": {
        "a": {"arms": [{"label": "base"}, {"label": "slow", "overrides": {"optimization.learning_rate": 1e-5}}]},
        "b": {"arms": [{"label": "base again"}]},
    }
}


def make(**sweep):
    return sweeps.make_sweep("s", merged({}, PROBE), **sweep)


PLANNER = cached_planner(10)
"""One planner for all tests: they plan the same shapes."""


def quote(sweep, **options):
    return plan_sweep(sweep, classes=10, planner=PLANNER, **options).as_json()


def test_the_quote_says_arms_packs_and_speedup():
    found = quote(make(**RATES))
    assert (found["name"], found["arms"], found["distinct_arms"], found["done_arms"]) == ("s", 4, 4, 0)
    (pack,) = found["packs"]
    assert pack["arms"] == [f"learning_rate=0.00{number}" for number in range(1, 5)]
    assert pack["predicted_peak_gib"] > 0
    assert pack["predicted_peak_over_largest_alone"] >= 1
    assert 1 < found["predicted_speedup"] <= 4
    assert found["predicted_speedup"] == pytest.approx(pack["predicted_speedup"])
    assert found["packing_pays"]


def test_the_quote_is_json():
    found = quote(make(**TWICE, reproduces="Table 9"))
    assert json.loads(json.dumps(found)) == found
    assert found["reproduces"] == "Table 9"


def test_rows_that_are_one_arm_are_planned_once_and_saved_twice():
    found = quote(make(**TWICE))
    assert (found["arms"], found["distinct_arms"]) == (3, 2)
    assert [len(pack["arms"]) for pack in found["packs"]] == [2]
    assert found["predicted_speedup_of_rows"] == pytest.approx(found["predicted_speedup"] * 3 / 2)


def test_seeds_are_rows_and_arms_of_their_own():
    found = quote(make(**TWICE, seeds=3))
    assert (found["arms"], found["distinct_arms"]) == (9, 6)


def test_without_packing_nothing_is_saved():
    found = quote(make(**RATES, packing="off"))
    assert len(found["packs"]) == 4
    assert found["predicted_speedup"] == 1
    assert not found["packing_pays"]


# ---- what is done


def packed(done, sweep, **options):
    """Labels of the arms that are to train, when so many of the first have a result."""
    keys = [arm.key for arm in sweep.arms][:done]
    return [label for pack in quote(sweep, done=keys, **options)["packs"] for label in pack["arms"]]


def test_done_arms_leave_the_packs():
    sweep = make(**RATES)
    labels = [arm.label for arm in sweep.arms]
    assert [packed(done, sweep) for done in range(5)] == [labels[done:] for done in range(5)]


def test_twin_that_packs_all_arms():
    sweep = make(**RATES)
    labels = packed(3, sweep, pack_arms=lambda arms, spec, planner: make_packs(sweep.arms, spec, planner))
    assert labels != ["learning_rate=0.004"]


def test_nothing_left_means_no_packs():
    sweep = make(**RATES)
    found = quote(sweep, done=[arm.key for arm in sweep.arms])
    assert found["packs"] == []
    assert (found["arms"], found["distinct_arms"], found["done_arms"]) == (4, 4, 4)


def test_the_speedup_is_of_the_whole_sweep_whatever_is_done():
    sweep = make(**RATES)
    keys = [arm.key for arm in sweep.arms]
    assert {quote(sweep, done=keys[:done])["predicted_speedup"] for done in range(5)} == {
        quote(sweep)["predicted_speedup"]
    }


def test_results_of_others_are_not_counted_as_this_sweeps():
    assert quote(make(**RATES), done=["an arm of another sweep"])["done_arms"] == 0


# ---- arms that are still to be proposed


def test_optuna_is_quoted_by_a_batch_of_the_base():
    plan = plan_sweep(make(optuna={"arms": 20, "space": SPACE}), classes=10)
    found = plan.as_json()
    assert (found["arms"], found["distinct_arms"], found["done_arms"]) == (20, 20, 0)
    assert [len(pack["arms"]) for pack in found["packs"]] == [8]
    assert plan.proposed == 20
    assert found["predicted_speedup"] > 1


def test_a_batch_of_optunas_holds_every_seed():
    found = quote(make(optuna={"arms": 20, "space": SPACE}, packing=4, seeds=2, limits={"virtual_trials": 8}))
    assert (found["arms"], found["distinct_arms"]) == (40, 40)
    assert sum(len(pack["arms"]) for pack in found["packs"]) == 8
    assert max(len(pack["arms"]) for pack in found["packs"]) <= 4
