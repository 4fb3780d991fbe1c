"""Who takes a seat: the queue, Optuna, requests, limits of memory and time, the median rule."""

import random

import pytest

from searches import ScriptedSearch
from seat_passes import OPTUNA, seat_sweep
from side4video.arm_search.proposals import Outcome, propose
from side4video.arm_search.records import first_epoch_of, title_of
from side4video.arm_search.search import ArmSearch
from side4video.data.first_epoch import epoch_of_order
from side4video.spec.sweep import OptunaSearch

FLAT = [dict.fromkeys(range(1, 10), number / 10) for number in range(10)]


def states(search):
    return [record.state for record in search.search.records.values()]


def test_arms_take_seats_in_the_order_of_the_document():
    search = ScriptedSearch(FLAT[:5], seats=2, epochs=3)
    search.go()
    firsts = [record.stays[0].first for record in search.search.records.values()]
    assert firsts == [0, 0, 3, 3, 6]
    assert states(search) == ["finished"] * 5
    assert [record.stays[0].seat for record in search.search.records.values()] == [0, 1, 0, 1, 0]


def test_first_epochs_name_every_pause():
    asha = {"kind": "asha", "grace_epochs": 1, "reduction": 2}
    search = ScriptedSearch(FLAT[::-1], seats=2, epochs=4, scheduler=asha)
    search.go()
    paused = [record for record in search.search.records.values() if len(record.stays) > 1]
    assert paused
    for record in paused:
        seen = [epoch for stay in record.stays for epoch in range(stay.first, stay.end)]
        assert len(seen) == record.epochs
        assert [epoch_of_order(first_epoch_of(record), own) for own in range(len(seen))] == seen


def test_the_same_results_give_the_same_proposals_after_any_restart():
    curves = [{epoch: random.Random(number * 100 + epoch).random() for epoch in range(1, 5)} for number in range(12)]
    asha = {"kind": "asha", "grace_epochs": 1, "reduction": 2}
    runs = []
    for restores in (True, False):
        search = ScriptedSearch(
            curves, seats=3, epochs=4, restores=restores, scheduler=asha, grid={}, optuna={**OPTUNA, "arms": 12}
        )
        search.go()
        runs.append(search.search.state())
    assert runs[0] == runs[1]
    assert len(runs[0]["proposals"]) == 12


def test_proposals_learn_from_what_was_measured():
    """After many arms, most proposals have the choice that was better."""
    space = {"method.dim": {"kind": "choice", "values": [64, 128]}, "seed": {"kind": "integer", "low": 0, "high": 99}}
    search, past = OptunaSearch(arms=60, startup=10, space=space), []
    for _ in range(60):
        proposal = propose(search, past, mode="max")
        value = 0.9 if proposal.overrides["method.dim"] == 128 else 0.1
        past.append((proposal, Outcome("complete", {1: value})))
    late = [proposal.overrides["method.dim"] for proposal, _ in past[30:]]
    assert late.count(128) > 20


def test_proposals_made_at_the_same_time_differ():
    """Arms that still train count as bad; without that, all would be the best guess."""
    space = {"optimization.learning_rate": {"kind": "log-uniform", "low": 1e-5, "high": 1e-1}}
    search, past = OptunaSearch(arms=30, startup=2, space=space), []
    for _ in range(8):
        past.append((propose(search, past, mode="max"), Outcome("running", {})))
    assert len({str(proposal.overrides) for proposal, _ in past}) == 8


def test_a_request_takes_the_next_free_seat_and_a_stop_frees_one():
    search = ScriptedSearch(FLAT[:3], seats=2, epochs=3)
    search.go(1)
    search.requests.append({"id": "1", "add": {"label": "more", "overrides": {"method.dim": 192}}})
    search.requests.append({"id": "2", "stop": search.names[0]})
    search.go(1)
    records = search.search.records
    assert search.names[0] in search.ended
    assert records[search.names[2]].stays[0].first == 2
    more = next(record for record in records.values() if record.arm["label"] == "more")
    assert title_of(more) == "more"
    assert more.state == "waiting"
    assert search.search.taken == ["1", "2"]
    search.curves.append(FLAT[0])
    search.names.append(more.name)
    search.go()
    assert states(search) == ["stopped", "finished", "finished", "finished"]


def test_a_wrong_request_is_refused_and_nothing_else_happens():
    search = ScriptedSearch(FLAT[:2], seats=2, epochs=3)
    search.requests.append({"id": "1", "add": {"label": "wrong", "overrides": {"method.dim": -1}}})
    search.go()
    assert states(search) == ["finished", "finished"]
    assert search.search.refused[0]["request"] == "wrong"


def test_an_arm_waits_until_it_fits_into_memory():
    sweep = seat_sweep(grid={"method.dim": [64, 128, 192]}, packing={"seats": 3})

    def fits(experiments):
        return sum(each.method.dim for each in experiments) <= 256

    search = ArmSearch(sweep, sweep.arms, 3, 4, fits=fits)
    changes = search.advance(0, {})
    assert [each.experiment["method"]["dim"] for each in changes.join] == [64, 128]


def test_nobody_joins_after_the_time_limit_and_nobody_is_lost():
    sweep = seat_sweep(grid={"method.dim": [64, 128, 192]}, packing={"seats": 1})
    search = ArmSearch(sweep, sweep.arms, 1, 4, is_closed=lambda: True)
    assert not search.advance(0, {}).join
    assert [record.state for record in search.records.values()] == ["waiting"] * 3


def test_the_median_rule_stops_who_is_worse_than_most():
    curves = [dict.fromkeys(range(1, 7), value) for value in (0.5, 0.6, 0.7, 0.1)]
    search = ScriptedSearch(curves, seats=4, epochs=6, scheduler={"kind": "median", "grace_epochs": 2, "arms": 3})
    search.go()
    assert states(search) == ["stopped", "finished", "finished", "stopped"]
    assert [record.epochs for record in search.search.records.values()] == [2, 6, 6, 2]


def test_an_arm_that_cannot_be_built_leaves_its_seat_to_the_next():
    sweep = seat_sweep(grid={"method.dim": [64, 128, 192]}, packing={"seats": 2})
    search = ArmSearch(sweep, sweep.arms, 2, 4)
    first, second = search.advance(0, {}).join
    changes = search.fail(second.name, "out of memory")
    assert [each.seat for each in changes.join] == [second.seat]
    assert search.records[second.name].state == "failed"
    assert search.records[second.name].reason == "out of memory"
    assert first.name in search.records


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_arm_that_is_proposed_twice_is_trained_once(seeds):
    space = {"method.dim": {"kind": "choice", "values": [64, 128]}}
    curves = [FLAT[0]] * 20
    search = ScriptedSearch(
        curves, seats=3, epochs=2, grid={}, seeds=seeds, optuna={"arms": 8, "startup": 2, "space": space}
    )
    search.go()
    assert len(search.search.records) == 2 * seeds
    assert len(search.search.proposals) == 8
    assert sum(1 + len(record.arm["duplicates"]) for record in search.search.records.values()) == 8 * seeds
