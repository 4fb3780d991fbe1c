"""Where the time of a training step goes, and its memory: what a run recorded, or what a plan estimates.

A run's parts are means over all steps but the first, as the first worker saw them. Of a pack, the students' part is
that of all its students; what was one run's own is said beside it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from side4video.core.errors import InputError
from side4video.core.units import GIB, format_bytes
from side4video.planning.plan import MEMORY_PARTS, ExperimentPlan
from side4video.reports.arms import MEASURED_MEMORY, RESERVED_MEMORY
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import (
    BLUE,
    COLOURS,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    WIDTH,
    label_axes,
    new_figure,
    shorten,
    style_axes,
)
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text
from side4video.tracking.tags import REUSED_TAG

PHASES = {
    "data_wait": "waiting for data",
    "transfer": "copy to the device",
    "backbone": "frozen backbone",
    "side": "student, forward and backward",
    "recompute": "recomputed in backward",
    "optimizer": "optimizer",
    "own": "its own student",
    "others": "other students of the pack",
    "reading": "waiting for features",
}
"""As a run records them (`time/mean_NAME_s`), and as a plan has them, in the order of a step."""
_TOTALS = frozenset({"step", "own_step", "alone_step", "total"})
_STUDENTS = ("side", "optimizer")
"""Phases that are spent on students, on one after another of a pack."""
_GREY = "#9a9a9a"
"""Not of the page's colours: dark figures stand in it, on light and on dark paper."""
_SHADES = {
    "data_wait": ORANGE,
    "transfer": "#E69F00",
    "backbone": BLUE,
    "side": GREEN,
    "recompute": "#56B4E9",
    "optimizer": "#CC79A7",
    "own": GREEN,
    "others": _GREY,
    "reading": ORANGE,
}


@dataclass(frozen=True)
class StepBudget:
    """A training step of a run, or of a plan."""

    label: str
    seconds: Mapping[str, float]
    """By phase; a name that is not of `PHASES` stands as it is."""
    clips_per_second: float
    is_estimated: bool
    own_seconds: float = math.nan
    """Spent on this run's student alone; NaN where nobody recorded it."""
    is_shared: bool = False
    """Whether it is the step of a pack."""
    predicted_parts_gib: Mapping[str, float] | None = None
    """Of the predicted peak of this student alone; None where no plan was kept."""
    measured_gib: float = math.nan
    """Peak of the worker; NaN in a pack on a GPU, whose peak is the pack's."""
    is_on_cpu: bool = False
    """Whether the measured peak is that of the tensors of a step, on a CPU."""
    multiply_adds: Mapping[str, float] = field(default_factory=dict)
    """Of a step by phase, of a plan."""
    held_gib: tuple[float, float] = (math.nan, math.nan)
    """Held for backward: predicted and measured."""

    @property
    def step_seconds(self) -> float:
        """All of it."""
        return sum(self.seconds.values())


def recorded_budget(label: str, metrics: Mapping[str, float], plan: Mapping[str, Any] | None = None) -> StepBudget:
    """What a run recorded.

    `plan` is the run's plan as JSON, if it has one.

    Raises:
        InputError: It recorded no times: it did not come to its end.
    """
    names = {
        key: key.removeprefix("time/mean_").removesuffix("_s")
        for key in metrics
        if key.startswith("time/mean_") and key.endswith("_s") and not key.endswith("_per_s")
    }
    seconds = {name: metrics[key] for key, name in names.items() if name not in _TOTALS}
    if not seconds:
        fix = "let it finish: side4video run SPEC --resume; or name another run"
        raise InputError(label, "has no times of a step: they are recorded at the end", fix=fix)
    plan, own = plan or {}, metrics.get("time/mean_own_step_s", math.nan)
    student_seconds = sum(seconds.get(name, 0.0) for name in _STUDENTS)
    # A lone student's own part is a little less than all of it: the clock stops between the two.
    is_shared = metrics.get("plan/pack_arms", 1.0) > 1.0 or own < 0.9 * student_seconds
    if is_shared:
        seconds = {name: spent for name, spent in seconds.items() if name not in _STUDENTS}
        seconds |= {"own": own, "others": student_seconds - own}
    return StepBudget(
        label=label,
        seconds={name: seconds[name] for name in sorted(seconds, key=_phase_order)},
        clips_per_second=metrics.get("time/mean_clips_per_s", math.nan),
        is_estimated=False,
        own_seconds=own,
        is_shared=is_shared,
        predicted_parts_gib=plan.get("peak_memory_parts_gib"),
        measured_gib=math.nan if is_shared and RESERVED_MEMORY in metrics else metrics.get(MEASURED_MEMORY, math.nan),
        is_on_cpu=RESERVED_MEMORY not in metrics,
        held_gib=(
            metrics.get("plan/held_for_backward_gib", math.nan),
            metrics.get("memory/held_for_backward_gib", math.nan),
        ),
    )


def estimated_budget(plan: ExperimentPlan, *, clips: int, is_cached: bool) -> StepBudget:
    """What a plan estimates from multiply-adds and an assumed rate; data are taken to be there in time.

    A worker takes `clips` in a step; `is_cached` means that frozen features are read and not computed.
    """
    step, rate = plan.estimates["step_seconds"], plan.estimates["assumed_sustained_teraflops"] * 1e12
    frozen = 0.0 if is_cached else clips * 2 * plan.multiply_adds_frozen / rate
    recomputed = plan.estimates["recompute_share"] * step
    student_seconds = clips * 2 * 3 * plan.multiply_adds_student / rate
    waiting = max(0.0, step - frozen - student_seconds - recomputed)
    parts = {"backbone": frozen, "side": student_seconds, "recompute": recomputed}
    return StepBudget(
        label=plan.name,
        seconds={name: spent for name, spent in parts.items() if spent} | ({"reading": waiting} if is_cached else {}),
        clips_per_second=plan.estimates["clips_per_second"],
        is_estimated=True,
        multiply_adds={name: spent * rate / 2 for name, spent in parts.items() if spent},
        predicted_parts_gib=plan.peak_memory_parts_gib,
        held_gib=(plan.held_for_backward_gib, math.nan),
    )


def read_budget(store: RunStore, run: StoredRun, *, label: str = "") -> StepBudget:
    """The budget of a run in the store; of a result that was taken over, the plan of the run that measured it."""
    plan = json.loads(artifact_text(store, run.tags.get(REUSED_TAG, run.run_id), "plan.json", default="null"))
    return recorded_budget(label or f"{run.name} ({run.run_id[:8]})", run.metrics, plan)


def _phase_order(name: str) -> int:
    return list(PHASES).index(name) if name in PHASES else len(PHASES)


def step_time_figure(budgets: Sequence[StepBudget]) -> ReportFigure:
    """The figure: a bar of time for each, and below it what the step takes of memory, predicted beside measured."""
    estimated = sum(each.is_estimated for each in budgets)
    caption = ""
    if estimated < len(budgets):
        caption += "Time: means over all steps but the first, measured by the first worker. "
    if estimated:
        caption += "Multiply-adds: of a step, as planned; how long they take depends on the machine. "
    if any(each.is_shared for each in budgets):
        caption += "The students of a pack share the data and the backbone; each has its own forward, backward and "
        caption += "optimizer. "
    if _has_memory(budgets):
        measured = [each for each in budgets if math.isfinite(each.measured_gib)]
        caption += "Memory: the predicted peak of a student alone, by parts"
        caption += "; the black line is the measured peak" if measured else ""
        caption += " (on a CPU: the tensors of a step)" if any(each.is_on_cpu for each in measured) else ""
        caption += "."
    numbers = [
        {
            "label": each.label,
            "estimated": each.is_estimated,
            "seconds": dict(each.seconds),
            "step_seconds": each.step_seconds,
            "clips_per_second": each.clips_per_second,
            "own_seconds": _or_none(each.own_seconds),
            "shared": each.is_shared,
            "predicted_parts_gib": dict(each.predicted_parts_gib or {}),
            "measured_gib": _or_none(each.measured_gib),
            "held_predicted_gib": _or_none(each.held_gib[0]),
            "held_measured_gib": _or_none(each.held_gib[1]),
        }
        for each in budgets
    ]
    return ReportFigure("step-time", "Where a step's time goes", caption.strip(), _draw(budgets), numbers)


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _has_memory(budgets: Sequence[StepBudget]) -> bool:
    return any(each.predicted_parts_gib for each in budgets)


def _draw(budgets: Sequence[StepBudget]) -> Figure:
    recorded = [each for each in budgets if not each.is_estimated]
    planned = [each for each in budgets if each.multiply_adds]
    panels = [(_draw_time, recorded), (_draw_work, planned), (_draw_memory, budgets if _has_memory(budgets) else [])]
    panels = [(draw, shown) for draw, shown in panels if shown]
    heights = [1.35 + 0.5 * len(shown) for _, shown in panels]
    figure = new_figure(WIDTH, sum(heights))
    figure.set_layout_engine("constrained", h_pad=0.08)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for (draw, shown), panel in zip(panels, axes, strict=True):
        draw(panel, shown)
        kinds = dict.fromkeys("plan" if each.is_estimated else "run" for each in shown)
        label_axes(panel, x=panel.get_xlabel(), y=", ".join(kinds))
    return figure


def _draw_time(axes: Axes, budgets: Sequence[StepBudget]) -> None:
    unit, scale = ("ms", 1000.0) if max(each.step_seconds for each in budgets) < 1 else ("s", 1.0)
    texts = [_time_text(each.step_seconds) + f" · {_number(each.clips_per_second)} clips/s" for each in budgets]
    for index, each in enumerate(budgets):
        texts[index] += f"\nits own: {_time_text(each.own_seconds)}" if each.is_shared else ""
    _draw_phases(axes, budgets, [{n: scale * s for n, s in each.seconds.items()} for each in budgets], texts)
    label_axes(axes, x=f"time of a training step, {unit}")


def _draw_work(axes: Axes, budgets: Sequence[StepBudget]) -> None:
    most = max(sum(each.multiply_adds.values()) for each in budgets)
    size, unit = next((pair for pair in _LARGE if most >= pair[0]), (1, ""))
    texts = [f"{_number(sum(each.multiply_adds.values()) / size)} {unit}".rstrip() for each in budgets]
    _draw_phases(axes, budgets, [{n: w / size for n, w in each.multiply_adds.items()} for each in budgets], texts)
    label_axes(axes, x="multiply-adds of a training step" + (f", {unit}" if unit else ""))


_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def _draw_phases(
    axes: Axes, budgets: Sequence[StepBudget], values: Sequence[Mapping[str, float]], texts: list[str]
) -> None:
    phases = sorted({name for each in values for name in each}, key=_phase_order)
    colors = {name: _SHADES.get(name, _GREY) for name in phases}
    _bars(axes, budgets, values, colors, texts)
    _draw_legend(axes, {PHASES.get(name, name.replace("_", " ")): colors[name] for name in phases})


def _time_text(seconds: float) -> str:
    return f"{_number(1000 * seconds)} ms" if seconds < 1 else f"{_number(seconds)} s"


def _draw_memory(axes: Axes, budgets: Sequence[StepBudget]) -> None:
    parts = [dict(each.predicted_parts_gib or {}) for each in budgets]
    maximum = max(
        [sum(each.values()) for each in parts] + [b.measured_gib for b in budgets if math.isfinite(b.measured_gib)]
    )
    unit, scale = ("MiB", 1024.0) if maximum < 1 else ("GiB", 1.0)
    names = [name for name in MEMORY_PARTS if any(each.get(name) for each in parts)]
    names += sorted({name for each in parts for name in each if name not in MEMORY_PARTS})
    colors = dict(zip(names, (_GREY, *COLOURS[:6]), strict=False)) | dict.fromkeys(names[7:], _GREY)
    texts = []
    for each, own in zip(budgets, parts, strict=True):
        words = [f"{format_bytes(GIB * sum(own.values()))} predicted"] if own else ["no plan was kept"]
        if math.isfinite(each.measured_gib):
            words[0] += f" · {format_bytes(GIB * each.measured_gib)} measured"
        predicted, measured = each.held_gib
        if math.isfinite(measured):
            held = f"{format_bytes(GIB * predicted)} predicted · {format_bytes(GIB * measured)} measured"
            words.append(f"held for backward: {held}")
        texts.append("\n".join(words))
    _bars(axes, budgets, [{n: scale * each.get(n, 0.0) for n in names} for each in parts], colors, texts)
    for index, each in enumerate(budgets):
        if math.isfinite(each.measured_gib):
            axes.plot([scale * each.measured_gib] * 2, [index - 0.4, index + 0.4], color=INK, linewidth=2.2, zorder=4)
    label_axes(axes, x=f"peak memory of a worker, {unit}")
    _draw_legend(axes, {MEMORY_PARTS.get(name, name.replace("_", " ")): colors[name] for name in names})


def _bars(
    axes: Axes,
    budgets: Sequence[StepBudget],
    values: Sequence[Mapping[str, float]],
    colors: Mapping[str, str],
    texts: Sequence[str],
) -> None:
    """Stacked bars with the share of each larger part in it, and words behind."""
    style_axes(axes, grid="x")
    longest = max(sum(each.values()) for each in values) or 1.0
    for index, parts in enumerate(values):
        left, whole = 0.0, sum(parts.values())
        for name in colors:
            width = parts.get(name, 0.0)
            axes.barh(index, width, 0.6, left, color=colors[name], edgecolor=PAPER, linewidth=0.6, zorder=2)
            if width > 0.06 * longest:
                spot, share = (left + width / 2, index), f"{100 * width / whole:.0f}%"
                colour = _ON_DARK if colors[name] in _DARK else _ON_LIGHT
                axes.text(*spot, share, ha="center", va="center", fontsize=7.5, color=colour, zorder=3)
            left += width
        axes.annotate(
            texts[index], (left, index), (5, 0), textcoords="offset points", va="center", fontsize=7.5, color=FAINT
        )
    axes.set_yticks(range(len(budgets)), ["\n".join(_lines(each.label)) for each in budgets])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(budgets) - 0.4, -0.6)
    axes.set_xlim(0, 1.5 * longest)


_MAX_LEGEND_LENGTH = 70
"""Of the names of a legend in one row."""
_DARK = (BLUE, ORANGE, GREEN)
_ON_LIGHT, _ON_DARK = "#1a1a1a", "#fdfdfd"


def _lines(label: str) -> list[str]:
    """A label in two lines where it is long."""
    label = shorten(label, 44)
    if len(label) < 22 or " " not in label:
        return [label]
    middle = min((at for at, letter in enumerate(label) if letter == " "), key=lambda at: abs(at - len(label) / 2))
    return [label[:middle], label[middle + 1 :]]


def _draw_legend(axes: Axes, colors: Mapping[str, str]) -> None:
    handles = [Patch(facecolor=colour, label=name) for name, colour in colors.items()]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles) if sum(map(len, colors)) < _MAX_LEGEND_LENGTH else 3,
        fontsize=7.5,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1,
        columnspacing=1.2,
    )


def _number(value: float) -> str:
    """Three figures or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
