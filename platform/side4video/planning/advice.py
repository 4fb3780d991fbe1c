"""Finds the cheapest change that makes an experiment fit into a memory budget."""

from dataclasses import dataclass
from typing import Any

from side4video.core.units import as_gib
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment

MAX_PARTS = 64


@dataclass(frozen=True)
class Change:
    """A change of a spec, and its cost."""

    settings: tuple[str, ...]
    """Overrides, as for `--set`."""
    cost: str


@dataclass(frozen=True)
class Advice:
    """The cheapest change that fits, and the peak with it. `settings` is empty if no change fits."""

    settings: tuple[str, ...]
    costs: tuple[str, ...]
    peak_gib: float


def advise(spec: Experiment, *, classes: int, budget_gib: float) -> Advice:
    """Find the cheapest change that fits.

    The order is: one change that keeps the batch whole (first those that cost little time, then more time, then
    precision); several of them together; more accumulation, which changes the batch norm statistics; everything
    together. A plan takes seconds, so a change is skipped if a stronger one does not fit either.
    """
    exact, parts = _changes(spec), _smaller_batch_parts(spec)

    def plan(*changes: Change) -> Advice:
        settings = tuple(setting for change in changes for setting in change.settings)
        return Advice(settings, tuple(change.cost for change in changes), _peak_gib(spec, settings, classes))

    most = plan(*exact, *parts[-1:])
    if most.peak_gib > budget_gib:
        return Advice((), (), most.peak_gib)
    whole = plan(*exact) if parts else most
    single: list[tuple[Change, ...]] = [(change,) for change in exact]
    together = [tuple(exact[:count]) for count in range(2, len(exact))]
    candidates = [*single, *together] if whole.peak_gib <= budget_gib else [(change,) for change in parts]
    for candidate in candidates:
        found = plan(*candidate)
        if found.peak_gib <= budget_gib:
            return found
    if whole.peak_gib <= budget_gib:
        return whole
    found = (plan(*exact, change) for change in parts)
    return next((each for each in found if each.peak_gib <= budget_gib), most)


def _changes(spec: Experiment) -> list[Change]:
    """Changes that keep the batch whole, cheapest first."""
    method, backbone = spec.method, spec.backbone
    changes = []
    if backbone.chunk_frames in ("all", "auto"):
        changes.append(Change(("backbone.chunk_frames=8",), "smaller products in the tower, a little slower"))
    recompute = getattr(method, "recompute", "block")
    if recompute == "none":
        changes.append(Change(("method.recompute=selective",), "MLPs computed again in backward, the same result"))
    if recompute != "block":
        changes.append(Change(("method.recompute=block",), "blocks computed again in backward, the same result"))
    if backbone.precision == "fp32" and "bf16" in method.tower_precisions:
        changes.append(Change(("backbone.precision=bf16",), "the tower computes in bf16: other tokens, to rounding"))
    if method.packable and backbone.kept_tokens != "8-bit":
        changes.append(Change(("backbone.kept_tokens=8-bit",), "tokens are rounded to 8 bits"))
    if "8-bit" in method.tower_precisions and backbone.precision != "8-bit":
        changes.append(Change(("backbone.precision=8-bit",), "the tower's matrices are rounded to 8 bits"))
    return changes


def _smaller_batch_parts(spec: Experiment) -> list[Change]:
    """More and more accumulation. Not for retrieval, where each text is compared with all videos of a batch."""
    if spec.task.kind == "retrieval":
        return []
    whole = spec.optimization.batch_size // spec.cluster.min_workers
    fewest = 2 if spec.data.augmentation.mixes_clips else 1  # videos of a part: those that are mixed are a pair
    changes, parts = [], spec.optimization.accumulation * 2
    while parts <= min(whole, MAX_PARTS) and whole % (fewest * parts) == 0:
        cost = f"batch norms see {whole // parts} videos at a time"
        changes.append(Change((f"optimization.accumulation={parts}",), cost))
        parts *= 2
    return changes


def _peak_gib(spec: Experiment, settings: tuple[str, ...], classes: int) -> float:
    document: dict[str, Any] = spec.resolved()
    for setting in settings:
        apply_override(document, setting)
    changed = parse_experiment(document)
    return as_gib(plan_memory(changed, build_meta_model(changed, classes=classes)).peak)
