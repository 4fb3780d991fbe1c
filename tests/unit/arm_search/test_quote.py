"""What a search is said to cost before it runs."""

import pytest

from seat_passes import seat_sweep
from side4video.arm_search.quote import quote_search, simulate
from side4video.planning.sweep import plan_sweep


def quote(**sweep):
    made = seat_sweep(**sweep)
    return quote_search(plan_sweep(made, classes=8), made.spec)


def test_without_a_scheduler_the_quote_is_exact():
    found = quote(grid={"seed": [0, 1, 2, 3, 4]}, packing={"seats": 2})
    assert (found.with_seats.pass_epochs, found.with_seats.arm_epochs) == (12, 20)
    assert (found.alone.pass_epochs, found.alone.arm_epochs) == (20, 20)
    assert found.with_seats.cost == 1
    assert found.alone.cost > 1


def test_halving_keeps_seats_full_where_packs_grow_thin():
    space = {"seed": {"kind": "integer", "low": 0, "high": 99}}
    asha = {"kind": "asha", "grace_epochs": 1, "reduction": 2}
    found = quote(optuna={"arms": 64, "space": space}, scheduler=asha, packing={"seats": 8})
    # 64 arms in packs of eight: eight passes of four epochs
    assert found.in_batches.pass_epochs == 32
    assert found.with_seats.pass_epochs < 0.8 * found.in_batches.pass_epochs
    assert found.with_seats.pass_epochs * 8 >= found.with_seats.arm_epochs


@pytest.mark.parametrize("arms", [1, 2, 3, 64])
def test_some_arm_trains_to_its_end_in_every_simulation(arms):
    pass_epochs, arm_epochs = simulate(arms, 4, 9, (1, 3), 3.0, seed=1)
    assert pass_epochs >= 9
    assert arm_epochs >= 9


def test_no_quote_without_seats_or_for_a_length_in_steps():
    assert quote(grid={"seed": [0, 1]}, packing=2) is None
    assert quote(grid={"seed": [0, 1]}, packing={"seats": 2}, overrides={"optimization.length": {"steps": 7}}) is None
