"""The plan of a sweep as tables: its arms, their cost, and what packing saves."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group
from rich.table import Table
from rich.text import Text

from side4video.arm_search.quote import quote_search
from side4video.core.units import GIB, format_bytes, format_count
from side4video.planning.sweep import SweepPlan
from side4video.spec.sweep import SweepSpec
from side4video.terminal.tables import FittedTable, fitted

MAX_PACKS = 12
MAX_ARMS = 24
MAX_NAMED = 12
"""Arms of a pack that are named."""


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
    if quote := quote_search(plan, spec):
        for number, (name, text) in enumerate(quote.lines().items()):
            head.add_row("" if number else "this search", f"{name}: {text}")
    else:
        head.add_row("packs to train", _packs(plan))
        head.add_row("predicted speed-up", _speedup(plan, spec))
    if plan.streams_apart > len(plan.packs):
        head.add_row("reading", _reading(plan))
    return Group(head, *([_pack_table(plan)] if plan.packs else []), Text())


def alone(plan: SweepPlan) -> FittedTable:
    """The cost of each arm alone, with the paper's memory if the sweep has it."""
    every = plan.as_json()["alone"]
    arms = every[:MAX_ARMS]
    columns = {
        "arm": [arm["arm"] for arm in arms],
        "trained": [format_count(arm["trainable_parameters"]) for arm in arms],
        "multiply-adds": [format_count(arm["multiply_adds_all_views"]) for arm in arms],
        "held for\nbackward": [format_bytes(GIB * arm["held_for_backward_gib"]) for arm in arms],
        "peak,\nplanned": [format_bytes(GIB * arm["peak_memory_gib"]) for arm in arms],
    }
    if any("memory_gb" in arm["paper"] for arm in arms):
        columns["paper"] = [f"{arm['paper']['memory_gb']:g} GB" if "memory_gb" in arm["paper"] else "" for arm in arms]
    caption = f"… and {len(every) - MAX_ARMS} more" if len(every) > MAX_ARMS else ""
    return replace(fitted(columns, texts=("arm",)), title="Each arm alone", caption=caption)


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
        shared = "" if all(len(pack.arms) == 1 for pack in plan.packs) else "; arms share reading and starting"
        return f"packing will not pay here: {plan.predicted_speedup:.2f}x in multiply-adds{shared}"
    rows = (
        f", {plan.predicted_speedup_of_rows:.2f}x against every row"
        if plan.rows != (plan.proposed or len(plan.arms))
        else ""
    )
    return f"{plan.predicted_speedup:.2f}x against the distinct arms one by one{rows}"


def _reading(plan: SweepPlan) -> str:
    """What backbones save that share a stream of clips."""
    packs = [pack for pack in plan.packs if pack.backbones > 1]
    if len(plan.packs) == 1:
        count = packs[0].backbones
        return f"{count} backbones share one stream: each clip is decoded once, not {count} times"
    times = f"{len(plan.packs)} times, not {plan.streams_apart}"
    return f"backbones share streams: the clips of an epoch are decoded {times}"


def _pack_table(plan: SweepPlan) -> FittedTable:
    packs = plan.packs[:MAX_PACKS]
    labels = ["like the base" if plan.proposed else _labels([arm.title for arm in pack.arms]) for pack in packs]
    columns = {
        "pack": [str(number) for number in range(1, len(packs) + 1)],
        "arms": [str(len(pack.arms)) for pack in packs],
        **({"backbones": [str(pack.backbones) for pack in packs]} if plan.streams_apart > len(plan.packs) else {}),
        "peak, planned": [format_bytes(pack.memory.peak) for pack in packs],
        "largest arm alone": [format_bytes(pack.memory.largest_alone) for pack in packs],
        "speed-up": [f"{pack.speedup:.2f}x" for pack in packs],
        "": labels,
    }
    caption = f"… and {len(plan.packs) - MAX_PACKS} more" if len(plan.packs) > MAX_PACKS else ""
    return replace(fitted(columns, texts=("",)), caption=caption)


def _labels(titles: Sequence[str]) -> str:
    """The arms of a pack by name, as many as are read at a glance."""
    more = len(titles) - MAX_NAMED
    return ", ".join(titles[:MAX_NAMED]) + (f", and {more} more" if more > 0 else "")
