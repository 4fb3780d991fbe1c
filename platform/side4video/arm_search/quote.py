"""What a search costs with seats, in batches and one by one, before it runs.

The cost of a search is P * F + S * C in multiply-adds per step of an epoch: P epochs of the pass, each with the frozen
backbone F, and S epochs of arms with the student's forward and backward C. Which arms a scheduler stops is not known
before; values drawn at random give how many.
"""

import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from side4video.arm_search.halving import Halving, rung_epochs
from side4video.planning.packs import Member, costs
from side4video.planning.sweep import SweepPlan
from side4video.spec.sweep import AshaScheduler, SweepSpec

DRAWS = 20
"""Random searches whose mean is quoted."""


@dataclass(frozen=True)
class Way:
    """One way through a search."""

    pass_epochs: float
    arm_epochs: float
    cost: float
    """Relative to the cheapest way: 1 or more."""


@dataclass(frozen=True)
class Quote:
    """What a search costs in three ways."""

    arms: int
    seats: int
    epochs: int
    """Of an arm that is trained to its end."""
    with_seats: Way
    in_batches: Way
    alone: Way

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> Mapping[str, str]:
        """The ways in words, by name."""
        ways = {f"{self.seats} seats": self.with_seats, f"packs of {self.seats}": self.in_batches}
        return {
            name: f"{way.pass_epochs:.0f} epochs of the pass, {way.arm_epochs:.0f} of arms"
            + (f" · {way.cost:.2f}x the multiply-adds" if way.cost > 1.005 else "")
            for name, way in {**ways, "one by one": self.alone}.items()
        }


def quote_search(plan: SweepPlan, spec: SweepSpec) -> Quote | None:
    """The quote of a sweep with seats; None without seats, or if its length in epochs is not known.

    Arms cost what those of the plan cost on average; for Optuna they are copies of the base.
    """
    lengths = {arm.experiment.optimization.length.epochs for arm in plan.arms}
    if not spec.has_seats or len(lengths) != 1 or not all(lengths):
        return None
    epochs = math.ceil(next(iter(lengths)) or 1)
    count = plan.proposed or len(plan.arms)
    members = [Member(arm.experiment, plan.planner(arm.experiment)) for arm in plan.arms]
    frozen = max(costs(member)[0] for member in members)
    student = statistics.fmean(costs(member)[1] for member in members)
    rungs, reduction = _rungs(spec, epochs)
    drawn = [simulate(count, spec.seats, epochs, rungs, reduction, seed=seed) for seed in range(DRAWS if rungs else 1)]
    seats = tuple(statistics.fmean(each) for each in zip(*drawn, strict=True))
    batches = _batches(count, spec.seats, epochs, rungs, reduction)
    alone = (seats[1], seats[1])
    paid = [pass_epochs * frozen + arm_epochs * student for pass_epochs, arm_epochs in (seats, batches, alone)]
    least = min(paid)
    made = zip((seats, batches, alone), paid, strict=True)
    ways = [Way(each[0], each[1], cost / least if least else 1.0) for each, cost in made]
    return Quote(count, spec.seats, epochs, ways[0], ways[1], ways[2])


def simulate(
    arms: int, seats: int, epochs: int, rungs: tuple[int, ...], reduction: float, *, seed: int
) -> tuple[int, int]:
    """Epochs of the pass and of arms, in a search whose values are drawn at random."""
    draw, halving = random.Random(seed), Halving(rungs, reduction)  # noqa: S311 - no secret
    trained = {str(number): 0 for number in range(arms)}
    waiting, sits, pass_epochs = list(trained), set[str](), 0
    while True:
        while len(sits) < seats:
            name = halving.promotable() if rungs else None
            if name is not None:
                halving.promote(name)
            elif waiting:
                name = waiting.pop(0)
            elif rungs and not sits and epochs not in trained.values():
                name = halving.best_of_highest(trained.keys())
                assert name is not None  # noqa: S101
                halving.promote(name)
            else:
                break
            sits.add(name)
        if not sits:
            return pass_epochs, sum(trained.values())
        pass_epochs += 1
        for name in sorted(sits):
            trained[name] += 1
            is_at_rung = trained[name] in rungs and halving.reached(name, {trained[name]: draw.random()})
            if is_at_rung or trained[name] == epochs:
                sits.remove(name)


def _batches(count: int, size: int, epochs: int, rungs: tuple[int, ...], reduction: float) -> tuple[float, float]:
    """The same in packs: at each rung the best share of a pack goes on; the pass lasts as long as one arm trains."""
    pass_epochs = arm_epochs = 0
    for start in range(0, count, size):
        going, before = min(size, count - start), 0
        for rung in (*rungs, epochs):
            arm_epochs += going * (rung - before)
            going, before = math.ceil(going / reduction), rung
        pass_epochs += epochs
    return pass_epochs, arm_epochs


def _rungs(spec: SweepSpec, epochs: int) -> tuple[tuple[int, ...], float]:
    if not isinstance(spec.scheduler, AshaScheduler):
        return (), 1.0
    grace, reduction = spec.scheduler.grace_epochs, spec.scheduler.reduction
    return rung_epochs(grace=grace, reduction=reduction, epochs=epochs), reduction
