"""A search whose arms have written curves: nothing is trained."""

import json

from seat_passes import seat_sweep
from side4video.arm_search.search import ArmSearch
from side4video.engine.arm_source import ArmResult


class ScriptedSearch:
    """Carries out the decisions of a search; at each boundary it may be restored from its own state."""

    def __init__(self, curves, *, seats, epochs, restores=True, **sweep):
        search = {"packing": {"seats": seats}, **sweep}
        search.setdefault(
            "grid", {"optimization.learning_rate": [1e-4 * (1 + number) for number in range(len(curves))]}
        )
        self.sweep = seat_sweep({"optimization": {"length": {"epochs": epochs}}}, **search)
        self.curves, self.total, self.restores = curves, epochs, restores
        self.requests = []
        self.search = self._make()
        self.names = [arm.short_key for arm in self.sweep.arms]
        self.sits = {}
        """Epochs trained, by the name of the arm in a seat."""
        self.rests = {}
        self.epoch = 0
        self.used = []
        self.ended = {}

    def _make(self):
        return ArmSearch(self.sweep, self.sweep.arms, self.sweep.spec.seats, self.total, requests=lambda: self.requests)

    @property
    def epochs_of_arms(self):
        return {name: record.epochs for name, record in self.search.records.items()}

    def curve(self, name):
        names = list(self.search.records)
        return self.curves[names.index(name)] if name not in self.names else self.curves[self.names.index(name)]

    def go(self, boundaries=10_000):
        """Train until nobody has a seat."""
        if not self.epoch:
            self.take(self.search.advance(0, {}))
        for _ in range(boundaries):
            if not self.sits:
                return
            self.train_epoch()

    def train_epoch(self):
        self.epoch += 1
        results = {}
        for name in self.sits:
            self.sits[name] += 1
            done = self.sits[name]
            state = "finished" if done == self.total else "training"
            results[name] = ArmResult(done, state, {"eval/top1": self.curve(name)[done], "eval/epoch": done - 1})
        for name, result in results.items():
            if result.state == "finished":
                del self.sits[name]
        if self.restores:
            state = json.loads(json.dumps(self.search.state(), sort_keys=True))
            self.search = self._make()
            self.search.restore(state)
        self.take(self.search.advance(self.epoch, results))

    def take(self, changes):
        for name in changes.pause:
            self.rests[name] = self.sits.pop(name)
        for name in changes.stop:
            self.ended[name] = self.sits.pop(name, None) or self.rests.pop(name, 0)
        for each in changes.join:
            assert each.epochs == self.rests.pop(each.name, 0)
            self.sits[each.name] = each.epochs
        assert len(self.sits) <= self.sweep.spec.seats
        self.used.append(len(self.sits))
