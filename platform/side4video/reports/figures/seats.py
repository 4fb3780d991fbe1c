"""Who had which seat of an endless pass, epoch by epoch."""

from collections.abc import Mapping
from typing import Any

from matplotlib.patches import Patch

from side4video.arm_search.records import ArmRecord, title_of
from side4video.core.errors import InputError
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    WIDTH,
    label_axes,
    legend_below,
    new_figure,
    style_axes,
)

SEATS = "seats"
"""Name of the figure."""
_SHADES = {
    "trained to its end": GREEN,
    "paused here, and went on": BLUE,
    "stopped": MUTED,
    "failed or diverged": ORANGE,
    "in its seat": INK,
}
_MAX_WIDE = 60
"""Epochs up to which each stay has the number of its arm written in it."""


def seats_figure(passes: Mapping[str, Any], *, name: str) -> ReportFigure:
    """The seats of a sweep's passes over their epochs; each bar is the stay of one arm, with the arm's number.

    `passes` is the sweep's `seats.json`.

    Raises:
        InputError: No arm has had a seat.
    """
    found = {key: [ArmRecord.from_json(each) for each in state["records"]] for key, state in passes.items()}
    found = {key: records for key, records in found.items() if any(record.stays for record in records)}
    if not found:
        raise InputError(f"sweep {name}", "no arm has had a seat", fix="run it: side4video sweep FILE")
    rows = sum(passes[key]["seats"] for key in found)
    figure = new_figure(WIDTH, 1.3 + 0.32 * rows + 0.5 * len(found), layout="constrained")
    heights = [passes[key]["seats"] for key in found]
    grid = figure.subplots(len(found), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    numbers: dict[str, Any] = {}
    used: dict[str, None] = {}
    for axes, (key, records) in zip(grid[:, 0], found.items(), strict=True):
        last = max(_end(stay, passes[key]) for record in records for stay in record.stays)
        for number, record in enumerate(records):
            for place, stay in enumerate(record.stays):
                kind = _kind(record, is_last=place == len(record.stays) - 1)
                used[kind] = None
                width = _end(stay, passes[key]) - stay.first
                axes.barh(stay.seat, width, left=stay.first, height=0.86, color=_SHADES[kind], edgecolor=PAPER)
                if last <= _MAX_WIDE:
                    middle = (stay.first + width / 2, stay.seat)
                    ink = INK if kind == "stopped" else PAPER
                    axes.annotate(str(number), middle, ha="center", va="center", fontsize=7, color=ink)
        style_axes(axes, grid="x")
        axes.set_ylim(passes[key]["seats"] - 0.4, -0.6)
        axes.set_yticks(range(passes[key]["seats"]), [str(seat + 1) for seat in range(passes[key]["seats"])])
        axes.set_xlim(0, max(1, last))
        label_axes(axes, x="epoch of the pass", y="seat")
        numbers[key] = _numbers(records, passes[key])
    shown = [kind for kind in _SHADES if kind in used]
    legend_below(figure, [Patch(color=_SHADES[kind]) for kind in shown], shown, columns=len(shown))
    use = sum(each["seat_epochs"] for each in numbers.values())
    whole = sum(each["epochs"] * each["seats"] for each in numbers.values())
    caption = (
        "Each bar is an arm in a seat; its number is that of the arm, counted from 0 in the order of proposal. "
        f"Seats were taken for {use / whole:.0%} of the epochs."
    )
    return ReportFigure(SEATS, "Who had which seat", caption, figure, numbers)


def _numbers(records: list[ArmRecord], state: Mapping[str, Any]) -> dict[str, Any]:
    stays = [(record, stay) for record in records for stay in record.stays]
    return {
        "seats": state["seats"],
        "epochs": max(1, *(_end(stay, state) for _, stay in stays)),
        "seat_epochs": sum(_end(stay, state) - stay.first for _, stay in stays),
        "arms": [
            {
                "number": number,
                "arm": title_of(record),
                "state": record.state,
                "stays": [{"seat": stay.seat, "first": stay.first, "end": stay.end} for stay in record.stays],
            }
            for number, record in enumerate(records)
        ],
    }


def _kind(record: ArmRecord, *, is_last: bool) -> str:
    if not is_last:
        return "paused here, and went on"
    if record.state in ("finished", "ended"):
        return "trained to its end"
    if record.state in ("failed", "diverged"):
        return "failed or diverged"
    return "in its seat" if record.state == "training" else "stopped"


def _end(stay: Any, state: Mapping[str, Any]) -> int:
    """The epoch before which an arm left its seat; the newest one if it is still there."""
    newest = int(state["times"][-1]["epoch"]) if state.get("times") else stay.first
    return stay.end if stay.end is not None else max(stay.first, newest)
