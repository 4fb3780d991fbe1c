"""Plans a sweep: its arms, those that are done, and the packs of the others."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from side4video.core.units import as_gib
from side4video.planning.packs import MIN_SPEEDUP, PlannedPack, Planner, cached_planner, make_packs, speedup
from side4video.planning.plan import ExperimentPlan
from side4video.planning.seats import check_seats
from side4video.spec.arm import Arm, Sweep, merge_duplicates


@dataclass(frozen=True)
class SweepPlan:
    """Predicted cost of a sweep."""

    name: str
    rows: int
    """Number of rows of the document times seeds."""
    arms: tuple[Arm, ...]
    """The distinct arms."""
    done: frozenset[str]
    """Keys of arms that have a result."""
    packs: tuple[PlannedPack, ...]
    """Packs of the arms that have to run."""
    predicted_speedup: float
    """Time of all distinct arms one by one, divided by their time in packs."""
    predicted_speedup_of_rows: float
    """Time of all rows one by one, divided by the time of the distinct arms in packs."""
    reproduces: str
    proposed: int
    """Number of arms that Optuna will propose. `arms` and `packs` are then an example: copies of the base."""
    planner: Planner

    @property
    def pays(self) -> bool:
        """Whether packing is predicted to save time."""
        return self.predicted_speedup >= MIN_SPEEDUP

    @property
    def streams_apart(self) -> int:
        """Streams of clips that would be decoded if backbones did not share one."""
        return sum(pack.backbones for pack in self.packs)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "arms": self.rows,
            "distinct_arms": self.proposed or len(self.arms),
            "done_arms": len(self.done),
            "alone": [_arm_json(arm, self.planner(arm.experiment)) for arm in self.arms],
            "packs": [_pack_json(pack) for pack in self.packs],
            "predicted_speedup": self.predicted_speedup,
            "predicted_speedup_of_rows": self.predicted_speedup_of_rows,
            "packing_pays": self.pays,
            "streams_of_clips": len(self.packs),
            "streams_of_clips_by_backbone": self.streams_apart,
            "reproduces": self.reproduces,
        }


def plan_sweep(
    sweep: Sweep,
    *,
    classes: int,
    done: Collection[str] = (),
    planner: Planner | None = None,
    pack_arms: Callable[..., tuple[PlannedPack, ...]] = make_packs,
) -> SweepPlan:
    """Plan a sweep, without a GPU, weights or data.

    `classes` is the width of the head; arms whose keys are in `done` have a result.

    Raises:
        InputError: If an arm does not fit the memory that is given.
    """
    check_seats(sweep)
    planner = planner or cached_planner(classes)
    rows = sweep.rows or tuple(_example_proposals(sweep))
    arms = merge_duplicates(rows) if sweep.rows else rows
    # What Optuna will propose is not known, so nothing of it is done, even if the base is.
    done = done if sweep.rows else ()
    missing = [arm for arm in arms if arm.key not in done]
    whole = pack_arms(arms, sweep.spec, planner)
    proposed = sweep.spec.optuna.arms * sweep.spec.seeds if sweep.spec.optuna else 0
    return SweepPlan(
        name=sweep.spec.name,
        rows=proposed or len(rows),
        arms=arms,
        done=frozenset(arm.key for arm in arms if arm.key in done),
        packs=whole if len(missing) == len(arms) else pack_arms(missing, sweep.spec, planner),
        predicted_speedup=speedup(arms, whole, planner),
        predicted_speedup_of_rows=speedup([arm for arm in arms for _ in arm.rows], whole, planner),
        reproduces=sweep.spec.reproduces,
        proposed=proposed,
        planner=planner,
    )


def _example_proposals(sweep: Sweep) -> list[Arm]:
    """As many arms as Optuna proposes at a time, all equal to the base."""
    return [row for number in range(sweep.batch) for row in sweep.propose(number, {})]


def _arm_json(arm: Arm, plan: ExperimentPlan) -> dict[str, Any]:
    """Predicted cost of an arm alone, and the paper's results for its rows."""
    return {
        "arm": arm.title,
        "trainable_parameters": plan.trainable_parameters,
        "multiply_adds_all_views": plan.multiply_adds_all_views,
        "held_for_backward_gib": plan.held_for_backward_gib,
        "peak_memory_gib": plan.peak_memory_gib,
        "paper": {name: value for row in arm.rows for name, value in row.paper.items()},
    }


def _pack_json(pack: PlannedPack) -> dict[str, Any]:
    return {
        "arms": [arm.title for arm in pack.arms],
        "backbones": pack.backbones,
        "predicted_peak_gib": pack.peak_gib,
        "predicted_optimizer_state_gib": as_gib(pack.memory.state),
        "predicted_peak_over_largest_alone": pack.memory.peak / pack.memory.largest_alone,
        "predicted_speedup": pack.speedup,
    }
