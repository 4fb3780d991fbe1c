"""Asynchronous successive halving with pauses (ASHA; Li et al., 2020, arXiv 1810.05934, algorithm 2).

Rung k is `grace * reduction ** k` epochs. An arm that reaches a rung has done its job: it is paused. When a seat is
free, the best arm of the highest rung that belongs to its best `1 / reduction` and was not promoted before goes on to
the next rung; where there is none, a new arm starts at the lowest rung. No arm waits for others to reach a rung. If no
arm would train to its end (a search of few arms), the best one of the highest rung does.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


def rung_epochs(*, grace: int, reduction: float, epochs: int) -> tuple[int, ...]:
    """The epochs of the rungs below the full length, ascending."""
    found: list[int] = []
    rung = float(grace)
    while round(rung) < epochs:
        if round(rung) not in found:
            found.append(round(rung))
        rung *= reduction
    return tuple(found)


def expected_epochs(*, grace: int, reduction: float, epochs: int) -> float:
    """Epochs that an arm trains on average, if one of `reduction` arms is promoted at each rung."""
    total, share, before = 0.0, 1.0, 0
    for rung in (*rung_epochs(grace=grace, reduction=reduction, epochs=epochs), epochs):
        total += share * (rung - before)
        share, before = share / reduction, rung
    return total


@dataclass
class Halving:
    """The rungs of a search, and who has reached and left them."""

    rungs: tuple[int, ...]
    """Epochs of each rung, ascending."""
    reduction: float
    mode: Literal["max", "min"] = "max"
    results: list[dict[str, float]] = field(default_factory=list)
    """The value of each arm at each rung, in the order in which they came."""
    promoted: list[list[str]] = field(default_factory=list)
    """Arms that went on from each rung, in order."""

    def __post_init__(self) -> None:
        """Make room for each rung."""
        self.results += [{} for _ in range(len(self.rungs) - len(self.results))]
        self.promoted += [[] for _ in range(len(self.rungs) - len(self.promoted))]

    def state(self) -> dict[str, Any]:
        """JSON values. Arms are in the order in which they came, which decides between equal values."""
        return {
            "rungs": list(self.rungs),
            "results": [[[name, value] for name, value in each.items()] for each in self.results],
            "promoted": [list(each) for each in self.promoted],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over `state`."""
        self.results = [dict(map(tuple, each)) for each in state["results"]]
        self.promoted = [list(each) for each in state["promoted"]]

    def reached(self, name: str, values: Mapping[int, float]) -> bool:
        """Add an arm's newest value to the rung that it has reached; returns whether it has reached one.

        `values` are those of its own epochs, counted from 1. A rung whose epoch is not evaluated is reached at the
        next evaluation.
        """
        epoch = max(values, default=0)
        number = max((k for k, rung in enumerate(self.rungs) if rung <= epoch), default=-1)
        if number < 0 or name in self.results[number]:
            return False
        self.results[number][name] = values[epoch]
        # A rung that an arm passed by between two evaluations was no decision about it.
        for before in range(number):
            if name not in self.promoted[before]:
                self.promoted[before].append(name)
        return True

    def promotable(self) -> str | None:
        """The arm that goes on next, or None."""
        for number in reversed(range(len(self.rungs))):
            results = self.results[number]
            best = sorted(results, key=lambda name: (_rank(results[name], self.mode), list(results).index(name)))
            for name in best[: math.floor(len(results) / self.reduction)]:
                if name not in self.promoted[number]:
                    return name
        return None

    def best_of_highest(self, names: Collection[str]) -> str | None:
        """The best of some arms at the highest rung that any of them has reached."""
        for results in reversed(self.results):
            if found := [name for name in results if name in names]:
                return min(found, key=lambda name: (_rank(results[name], self.mode), list(results).index(name)))
        return None

    def promote(self, name: str) -> None:
        """Let an arm go on from the highest rung that it has reached."""
        number = max(k for k, results in enumerate(self.results) if name in results)
        if name not in self.promoted[number]:
            self.promoted[number].append(name)

    def forget(self, name: str) -> None:
        """An arm that ended otherwise is promoted no more; its values still count."""
        for number, results in enumerate(self.results):
            if name in results and name not in self.promoted[number]:
                self.promoted[number].append(name)


def _rank(value: float, mode: str) -> float:
    """Small is good; what is no number comes last."""
    if math.isnan(value):
        return math.inf
    return -value if mode == "max" else value
