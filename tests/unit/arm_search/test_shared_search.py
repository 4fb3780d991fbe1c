"""Several sweeps on one pass: free seats are taken in turn, and each sweep decides by its own results."""

import json

import pytest

from seat_passes import ASHA, OPTUNA, seat_sweep
from side4video.arm_search.document import SearchDocument
from side4video.arm_search.records import arm_as_json
from side4video.arm_search.shared_search import SharedSearch, member_prefix, records_in
from side4video.engine.arm_source import ArmResult

EPOCHS = 3
A, B, C = "a" * 32, "b" * 32, "c" * 32


def rates(count):
    return {"grid": {"optimization.learning_rate": [1e-4 * (1 + number) for number in range(count)]}}


def told(member, *, name="", **sweep):
    built = seat_sweep({"optimization": {"length": {"epochs": EPOCHS}}}, **sweep)
    document = SearchDocument(
        sweep=built.spec.model_dump(mode="json", exclude_unset=True) | {"name": name or member[0]},
        base=dict(built.base),
        source="test",
        arms=[arm_as_json(arm) for arm in built.arms],
        epochs=EPOCHS,
        classes=2,
    )
    whole = json.loads(json.dumps(document.as_json()))
    return {"member": member, "document": whole, "is_here": True, "closes_at": 1e300, "requests": []}


class SharedPass:
    """Carries out the decisions; at each boundary the search may be restored from its own state."""

    def __init__(self, *news, seats=4, own=A, restores=True):
        self.news, self.seats, self.own, self.restores = list(news), seats, own, restores
        self.search = self._make()
        self.sits, self.rests, self.epoch, self.seen = {}, {}, 0, []
        self.take(self.search.advance(0, {}))

    def _make(self):
        return SharedSearch(self.seats, self.own, lambda: self.news)

    def go(self, epochs=1000):
        for _ in range(epochs):
            if not self.sits:
                return
            self.epoch += 1
            results = {}
            for name in self.sits:
                self.sits[name] += 1
                state = "finished" if self.sits[name] == EPOCHS else "training"
                results[name] = ArmResult(self.sits[name], state, {"eval/top1": int(name[-6:], 16) / 16**6})
            for name, result in results.items():
                if result.state == "finished":
                    del self.sits[name]
            if self.restores:
                state = json.loads(json.dumps(self.search.state()))
                self.search = self._make()
                self.search.restore(state)
            self.take(self.search.advance(self.epoch, results))

    def take(self, changes):
        for name in changes.pause:
            self.rests[name] = self.sits.pop(name)
        for name in changes.stop:
            self.sits.pop(name, None)
            self.rests.pop(name, None)
        for each in changes.join:
            self.sits[each.name] = self.rests.pop(each.name, 0)
        numbers = [record.seat for record in self.records if record.seat is not None]
        assert len(set(numbers)) == len(numbers) == len(self.sits) <= self.seats
        self.seen.append({member: self.count(member) for member in (A, B, C)})

    def count(self, member):
        return sum(name.startswith(member_prefix(member)) for name in self.sits)

    @property
    def records(self):
        return records_in(self.search.state())

    def states(self, member):
        return [each.state for each in self.records if each.name.startswith(member_prefix(member))]


def test_seats_that_become_free_are_taken_in_turn():
    both = SharedPass(told(A, **rates(10)))
    assert both.seen[0] == {A: 4, B: 0, C: 0}
    both.news.append(told(B, **rates(10)))
    both.go(1)
    assert both.seen[1] == {A: 4, B: 0, C: 0}, "nobody is sent away"
    both.go(EPOCHS - 1)
    assert both.seen[EPOCHS] == {A: 2, B: 2, C: 0}, "four seats are free, and two sweeps want them"
    both.news.append(told(C, **rates(10)))
    both.go(EPOCHS)
    assert both.seen[-1] == {A: 2, B: 1, C: 1}
    both.go()
    assert set(both.states(A) + both.states(B) + both.states(C)) == {"finished"}


def test_the_same_arm_in_two_sweeps_is_trained_for_each():
    both = SharedPass(told(A, **rates(2)), told(B, **rates(2)))
    both.go()
    names = [record.name for record in both.records]
    assert len(set(names)) == 4
    assert len({record.short_key for record in both.records}) == 2


@pytest.mark.parametrize("restores", [True, False])
def test_each_sweep_halves_by_its_own_results(restores):
    """Which arms train to their end is that of the sweep alone, when seats are enough for each rung."""
    ways = {"scheduler": ASHA, **rates(6)}
    search = {"optuna": {**OPTUNA, "arms": 6}, "scheduler": ASHA}
    both = SharedPass(told(A, **ways), told(B, **search), seats=3, restores=restores)
    both.go()
    assert "finished" in both.states(A)
    assert "finished" in both.states(B)
    assert len(both.states(A)) == len(both.states(B)) == 6
    for member in (A, B):
        own = [each for each in both.records if each.name.startswith(member_prefix(member))]
        best = max((each for each in own if 1 in each.by_epoch), key=lambda each: each.by_epoch[1])
        assert best.epochs == EPOCHS


def test_a_restored_search_decides_the_same():
    ways = [told(A, scheduler=ASHA, **rates(7)), told(B, optuna={**OPTUNA, "arms": 6}, scheduler=ASHA)]
    runs = []
    for restores in (True, False):
        both = SharedPass(*ways, seats=3, restores=restores)
        both.go()
        runs.append(both.search.state())
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("change", "value"), [("is_here", False), ("closes_at", 0.0)])
def test_of_a_sweep_that_has_left_nobody_joins_and_nobody_leaves(change, value):
    both = SharedPass(told(A, **rates(8)), told(B, **rates(8)))
    assert both.seen[0] == {A: 2, B: 2, C: 0}
    both.news[1] = {**both.news[1], change: value}
    both.go(1)
    assert both.seen[1] == {A: 2, B: 2, C: 0}
    both.go()
    assert both.states(A) == ["finished"] * 8
    assert both.states(B) == ["finished"] * 2 + ["waiting"] * 6


def test_the_pass_is_handed_over_when_its_own_sweep_is_over():
    both = SharedPass(told(A, **rates(2)), told(B, **rates(8)))
    assert not both.search.hands_over
    both.go(EPOCHS)
    assert both.states(A) == ["finished"] * 2
    assert both.search.hands_over
    alone = SharedPass(told(A, **rates(2)))
    alone.go()
    assert not alone.search.hands_over, "there is nobody to hand it over to"


def test_the_smallest_memory_of_all_sweeps_counts():
    both = SharedPass(told(A, **rates(4)), told(B, limits={"memory_gib": 1e-9}, **rates(4)))
    assert sum(both.seen[0].values()) == 1
    both.go()
    assert {sum(seen.values()) for seen in both.seen[:-1]} == {1}
    assert both.states(A) == both.states(B) == ["finished"] * 4


def test_requests_reach_their_own_sweep():
    both = SharedPass(told(A, **rates(2)), told(B, **rates(2)))
    both.news[1]["requests"] = [{"id": "1", "add": {"label": "wide", "overrides": {"method.dim": 192}}}]
    both.go()
    assert both.states(A) == ["finished"] * 2
    assert both.states(B) == ["finished"] * 3


def test_an_arm_that_cannot_be_built_frees_its_seat_for_any_sweep():
    both = SharedPass(told(A, **rates(5)), told(B, **rates(5)))
    name = next(iter(both.sits))
    del both.sits[name]
    both.take(both.search.fail(name, "no such file"))
    assert len(both.sits) == 4
    assert both.states(A).count("failed") == 1
    assert both.count(B) == 2


def test_the_progress_names_the_sweep_of_other_arms():
    both = SharedPass(told(A, name="mine", **rates(1)), told(B, name="theirs", **rates(1)))
    shown = both.search.shown()
    own = both.records[0].name
    assert own in shown["seated"]
    labels = [label for name, label in shown["labels"].items() if name != own]
    assert labels[0].startswith("theirs: ")
