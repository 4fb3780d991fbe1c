"""Successive halving with pauses: the algorithm alone, and a search against a simulation of it."""

import math
import random

import pytest

from searches import ScriptedSearch
from side4video.arm_search.halving import Halving, expected_epochs, rung_epochs


@pytest.mark.parametrize(
    ("grace", "reduction", "epochs", "rungs"),
    [(1, 4, 16, (1, 4)), (1, 3, 9, (1, 3)), (2, 2, 16, (2, 4, 8)), (1, 1.5, 4, (1, 2, 3)), (5, 4, 4, ())],
)
def test_rungs_are_below_the_full_length(grace, reduction, epochs, rungs):
    assert rung_epochs(grace=grace, reduction=reduction, epochs=epochs) == rungs


def test_expected_epochs_are_the_sum_over_rungs():
    # 1, then a third of the arms 2 more, then a ninth of them 6 more
    assert expected_epochs(grace=1, reduction=3, epochs=9) == pytest.approx(1 + 2 / 3 + 6 / 9)


def reached(halving, **values):
    for name, value in values.items():
        assert halving.reached(name, {1: value})


def test_the_best_share_is_promoted_best_first_and_once():
    halving = Halving((1, 3), 3)
    reached(halving, a=0.1, b=0.5)
    assert halving.promotable() is None
    reached(halving, c=0.3)
    assert halving.promotable() == "b"
    halving.promote("b")
    assert halving.promotable() is None
    reached(halving, d=0.9, e=0.2, f=0.1)
    assert halving.promotable() == "d"


def test_a_higher_rung_comes_first():
    halving = Halving((1, 3), 2)
    reached(halving, a=0.1, b=0.2, c=0.3, d=0.4)
    for name, value in (("c", 0.5), ("d", 0.6)):
        halving.promote(name)
        assert halving.reached(name, {1: 0.0, 3: value})
    reached(halving, e=0.9, f=0.8)
    assert halving.promotable() == "d"


def test_smaller_values_are_better_with_min_and_what_is_no_number_is_last():
    halving = Halving((1,), 2, "min")
    reached(halving, a=math.nan, b=0.5, c=0.4, d=0.6)
    assert halving.promotable() == "c"
    halving.promote("c")
    assert halving.promotable() == "b"


def test_equal_values_are_ranked_as_they_came_also_after_a_restart():
    halving = Halving((1,), 2)
    reached(halving, z=0.5, a=0.5, m=0.1)
    again = Halving((1,), 2)
    again.restore(halving.state())
    assert halving.promotable() == again.promotable() == "z"


def simulate(curves, *, seats, grace, reduction, epochs, mode="max"):
    """Algorithm 2 of Li et al. written anew: all seats reach each epoch together; returns each arm's last epoch."""
    rungs = rung_epochs(grace=grace, reduction=reduction, epochs=epochs)
    sign = 1 if mode == "max" else -1
    at_rung = [[] for _ in rungs]
    gone_on = [set() for _ in rungs]
    queue, age, sits = list(curves), dict.fromkeys(curves, 0), {}

    def job():
        for k in range(len(rungs) - 1, -1, -1):
            # Python's sort is stable, so equal values stay in the order in which they came
            best = sorted(at_rung[k], key=lambda arm: -sign * curves[arm][rungs[k]])[: int(len(at_rung[k]) / reduction)]
            fresh = [arm for arm in best if arm not in gone_on[k]]
            if fresh:
                gone_on[k].add(fresh[0])
                return fresh[0]
        return queue.pop(0) if queue else None

    resting = {}
    while True:
        coming = []
        while len(sits) + len(coming) < seats and (arm := job()) is not None:
            coming.append(arm)
        if not sits and not coming:
            if any(age[arm] == epochs for arm in curves):
                return age
            top = next(rung for rung in reversed(at_rung) if rung)
            best = max(top, key=lambda arm: (sign * curves[arm][age[arm]], -top.index(arm)))
            gone_on[at_rung.index(top)].add(best)
            coming.append(best)
        # who goes on at once keeps the seat, which decides between equal values at the next rung
        sits |= {arm: resting[arm] for arm in coming if arm in resting}
        free = (seat for seat in range(seats) if seat not in sits.values())
        sits |= {arm: next(free) for arm in coming if arm not in sits}
        for arm in sits:
            age[arm] += 1
        resting = {}
        for arm in sorted(sits, key=sits.get):
            if age[arm] in rungs:
                at_rung[rungs.index(age[arm])].append(arm)
                resting[arm] = sits[arm]
        sits = {arm: seat for arm, seat in sits.items() if arm not in resting and age[arm] < epochs}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("reduction", "epochs", "seats"), [(3, 9, 4), (2, 8, 3), (4, 16, 8)])
def test_a_search_promotes_the_arms_of_a_simulation_on_the_recorded_curves(seed, reduction, epochs, seats):
    draw = random.Random(seed)
    arms = draw.choice([2, 7, 20])
    mode = draw.choice(["max", "min"])
    curves = [{epoch: draw.choice([draw.random(), 0.5]) for epoch in range(1, epochs + 1)} for _ in range(arms)]
    search = ScriptedSearch(
        curves,
        seats=seats,
        epochs=epochs,
        scheduler={"kind": "asha", "grace_epochs": 1, "reduction": reduction},
        mode=mode,
    )
    search.go()
    by_name = dict(zip(search.names, curves, strict=True))
    expected = simulate(by_name, seats=seats, grace=1, reduction=reduction, epochs=epochs, mode=mode)
    assert search.epochs_of_arms == expected
    assert {name: record.state for name, record in search.search.records.items()} == {
        name: "finished" if age == epochs else "stopped" for name, age in expected.items()
    }
