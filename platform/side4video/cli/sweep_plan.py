"""The plan of a sweep as tables: its arms, their cost, and what packing saves."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from side4video.core.units import GIB, format_bytes
from side4video.planning.sweep import SweepPlan
from side4video.spec.sweep import SweepSpec

MAX_PACKS = 12
MAX_ARMS = 24


def plan_tables(plan: SweepPlan, spec: SweepSpec) -> Group:
    """The plan of a sweep."""
    head = Table(title=f"Plan of {plan.name}", box=None, show_header=False, title_justify="left", pad_edge=False)
    if plan.reproduces:
        head.add_row("reproduces", Text(plan.reproduces))
    distinct = plan.proposed or len(plan.arms)
    head.add_row("arms", f"{plan.rows} rows, {distinct} distinct, {len(plan.done)} with a result already")
    if plan.proposed:
        head.add_row("", f"Optuna proposes them, {len(plan.arms)} at a time; what follows is for as many of the base")
    scheduler = "" if spec.scheduler.kind == "none" else f"; {spec.scheduler.kind} stops weak arms early"
    head.add_row("compared by", f"{spec.metric} ({spec.mode}){scheduler}")
    head.add_row("packs to train", _packs(plan))
    head.add_row("predicted speed-up", _speedup(plan, spec))
    return Group(head, *([_pack_table(plan)] if plan.packs else []), Text())


def alone(plan: SweepPlan) -> Table:
    """The cost of each arm alone, with the paper's memory if the sweep has it."""
    table = Table(title="Each arm alone", box=None, header_style="bold", pad_edge=False, title_justify="left")
    table.add_column("arm", overflow="ellipsis", no_wrap=True)
    arms = plan.as_json()["alone"][:MAX_ARMS]
    has_paper = any("memory_gb" in arm["paper"] for arm in arms)
    for name in ("trained", "multiply-adds", "held for backward", "peak, planned", *(["paper"] if has_paper else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in arms:
        paper = f"{arm['paper']['memory_gb']:g} GB" if "memory_gb" in arm["paper"] else ""
        table.add_row(
            Text(arm["arm"]),
            f"{arm['trainable_parameters']:,}",
            f"{arm['multiply_adds_all_views'] / 1e9:,.1f} G",
            format_bytes(GIB * arm["held_for_backward_gib"]),
            format_bytes(GIB * arm["peak_memory_gib"]),
            *([paper] if has_paper else []),
        )
    if len(plan.arms) > MAX_ARMS:
        table.add_row(f"… and {len(plan.arms) - MAX_ARMS} more")
    return table


def _packs(plan: SweepPlan) -> str:
    if not plan.packs:
        return "none: every arm has a result"
    sizes = [len(pack.arms) for pack in plan.packs]
    smallest, largest = min(sizes), max(sizes)
    if smallest < largest:
        return f"{len(sizes)}, of {smallest} to {largest} arms"
    return f"{len(sizes)}, of {largest} arm{'s' * (largest > 1)}{' each' * (len(sizes) > 1)}"


def _speedup(plan: SweepPlan, spec: SweepSpec) -> str:
    if spec.packing == "off":
        return "none: packing is off"
    if not plan.pays:
        shared = "" if all(len(pack.arms) == 1 for pack in plan.packs) else "; arms still share reading and starting"
        return f"packing will not pay here: {plan.predicted_speedup:.2f}x in multiply-adds{shared}"
    rows = (
        f", {plan.predicted_speedup_of_rows:.2f}x against every row"
        if plan.rows != (plan.proposed or len(plan.arms))
        else ""
    )
    return f"{plan.predicted_speedup:.2f}x against the distinct arms one by one{rows}"


def _pack_table(plan: SweepPlan) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("pack", "arms", "peak, planned", "largest arm alone", "speed-up"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("", style="dim", overflow="ellipsis", no_wrap=True)
    for number, pack in enumerate(plan.packs[:MAX_PACKS], 1):
        labels = "like the base" if plan.proposed else ", ".join(arm.title for arm in pack.arms)
        table.add_row(
            str(number),
            str(len(pack.arms)),
            format_bytes(pack.memory.peak),
            format_bytes(pack.memory.largest_alone),
            f"{pack.speedup:.2f}x",
            Text(labels),
        )
    if len(plan.packs) > MAX_PACKS:
        table.add_row("…", "", "", "", "", f"and {len(plan.packs) - MAX_PACKS} more")
    return table
