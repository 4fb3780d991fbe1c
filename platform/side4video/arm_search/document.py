"""A search as JSON values, for another process: a worker, or the command that trains several sweeps on one pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from side4video.arm_search.records import arm_from_json
from side4video.arm_search.search import ArmSearch, Request
from side4video.core.units import as_gib
from side4video.planning.packs import Member, Planner, cached_planner, plan_pack_memory
from side4video.spec.arm import Arm, Sweep
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec


@dataclass(frozen=True)
class SearchDocument:
    """What an `ArmSearch` is made of. Plug-ins are known in another process only after they were loaded there."""

    sweep: Mapping[str, Any]
    """The document of a `SweepSpec`."""
    base: Mapping[str, Any]
    """Of the base experiment."""
    source: str
    """Path of the sweep's file, for error messages."""
    arms: Sequence[Mapping[str, Any]]
    """`arm_as_json` of those that wait from the start."""
    epochs: int
    """Of an arm that is trained to its end."""
    classes: int

    @cached_property
    def built(self) -> Sweep:
        """The sweep without its rows."""
        spec = parse_document(SweepSpec, dict(self.sweep), source=self.source)
        return Sweep(spec, self.base, self.source, ())

    @cached_property
    def waiting(self) -> list[Arm]:
        """The arms that wait from the start."""
        return [arm_from_json(each) for each in self.arms]

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def search(
        self, *, requests: Callable[[], Sequence[Request]], is_closed: Callable[[], bool], prefix: str = ""
    ) -> ArmSearch:
        """The search; for `prefix` see `ArmSearch`."""
        spec = self.built.spec
        fits = fits_memory(cached_planner(self.classes), spec.limits.memory_gib)
        return ArmSearch(
            self.built,
            self.waiting,
            spec.seats,
            self.epochs,
            fits=fits,
            requests=requests,
            is_closed=is_closed,
            prefix=prefix,
        )


def fits_memory(planner: Planner, limit: float | str) -> Callable[[Sequence[Experiment]], bool]:
    """Whether experiments fit into `limits.memory_gib` at the same time."""

    def fits(experiments: Sequence[Experiment]) -> bool:
        if isinstance(limit, str):
            return True
        members = [Member(each, planner(each)) for each in experiments]
        return as_gib(plan_pack_memory(members).peak) <= limit

    return fits
