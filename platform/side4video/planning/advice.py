"""Which cheapest change makes an experiment fit into a budget of memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from side4video.core.units import as_gib
from side4video.planning.memory import plan_memory
from side4video.planning.shapes import build_skeleton
from side4video.spec.experiment import Experiment
from side4video.spec.load import SpecError, parse_experiment

MOST_PARTS = 64


@dataclass(frozen=True)
class Change:
    """A change of a spec, and what it costs."""

    settings: tuple[str, ...]
    """As after `--set`."""
    cost: str


@dataclass(frozen=True)
class Advice:
    """The cheapest change that fits, with the peak it leads to; no settings where nothing is known to fit."""

    settings: tuple[str, ...]
    costs: tuple[str, ...]
    peak_gib: float


def advise(spec: Experiment, *, classes: int, budget_gib: float) -> Advice:
    """Look for the cheapest change, first one at a time, then the cheap ones together and parts of the batch.

    Cheapest first: what costs a little time, then what costs more, then what rounds, then what changes the batch norms.
    """
    changes = list(_changes(spec))
    exact = [change for change in changes if "accumulation" not in change.settings[0]]
    together = [tuple(exact[: count + 1]) for count in range(1, len(exact))]
    parts = [(*exact, change) for change in changes if change not in exact]
    smallest = Advice((), (), float("inf"))
    for candidate in [*((change,) for change in changes), *together, *parts]:
        settings = tuple(setting for change in candidate for setting in change.settings)
        peak = _peak_gib(spec, settings, classes)
        if peak is None:
            continue
        found = Advice(settings, tuple(change.cost for change in candidate), peak)
        if peak <= budget_gib:
            return found
        smallest = min(smallest, found, key=lambda advice: advice.peak_gib)
    return Advice((), (), smallest.peak_gib)


def _changes(spec: Experiment) -> Iterator[Change]:
    method, backbone, optimization = spec.method, spec.backbone, spec.optimization
    if backbone.chunk_frames in ("all", "auto"):
        yield Change(("backbone.chunk_frames=8",), "smaller products in the tower, hardly slower")
    recompute = getattr(method, "recompute", "block")
    if recompute == "none":
        yield Change(("method.recompute=selective",), "MLPs computed again in backward")
    if recompute != "block":
        yield Change(("method.recompute=block",), "blocks computed again in backward; the same result")
    if backbone.precision == "fp32" and "bf16" in method.tower_precisions:
        yield Change(("backbone.precision=bf16",), "the tower computes in bf16: other tokens, to rounding")
    if method.packable and backbone.kept_tokens != "8-bit":
        yield Change(("backbone.kept_tokens=8-bit",), "tokens are rounded to 8 bits")
    if "8-bit" in method.tower_precisions and backbone.precision != "8-bit":
        yield Change(("backbone.precision=8-bit",), "the tower's matrices are rounded to 8 bits")
    whole = optimization.batch_size // spec.cluster.workers
    parts = optimization.accumulation * 2
    while parts <= min(whole, MOST_PARTS) and whole % parts == 0:
        yield Change((f"optimization.accumulation={parts}",), f"batch norms see {whole // parts} videos at a time")
        parts *= 2


def _peak_gib(spec: Experiment, settings: tuple[str, ...], classes: int) -> float | None:
    document: dict[str, Any] = spec.resolved()
    for setting in settings:
        path, _, value = setting.partition("=")
        section, _, field = path.partition(".")
        document[section][field] = int(value) if value.isdigit() else value
    try:
        changed = parse_experiment(document)
    except SpecError:
        return None
    return as_gib(plan_memory(changed, build_skeleton(changed, classes=classes)).peak)
