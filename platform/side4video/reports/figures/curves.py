"""Learning curves: loss and metrics against the epochs that were trained, the best epoch marked."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from side4video.core.errors import InputError
from side4video.core.metric import MAX_VALUE
from side4video.reports.arms import ArmResult, Mode, spread
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import (
    BLUE,
    COLOURS,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SOFT,
    WIDTH,
    end_shares,
    label_axes,
    legend_below,
    new_figure,
    shorten,
    style_axes,
)
from side4video.spec.chance import metric_name, reached_by_all
from side4video.tasks.metrics import METRICS, epoch_metric, is_fraction, metric_title, printed_value
from side4video.tracking.pack_logger import CLASSES
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text
from side4video.tracking.tags import REUSED_TAG

SHOWN = tuple(f"eval/{each.name}" for each in METRICS if each.in_summary and not each.name.endswith("_r5"))
"""Metrics of one run that are drawn, of those that it has; the first is the one by which its best epoch is chosen."""
TRAIN, TEST = "train/loss", "eval/loss"
EPOCHS = ("eval/epoch", "val/epoch")
MAX_NAMED_ARMS = len(COLOURS)
"""Of more arms than this, the best have a colour and a name."""
MAX_ARMS = 40
"""Of more arms than this, only the best are drawn: each curve is a question to the store."""
History = Mapping[str, Mapping[int, float]]
"""By metric: values by optimizer step."""


@dataclass(frozen=True)
class Curve:
    """Values along the training."""

    epochs: tuple[float, ...]
    """Epochs trained when it was measured: 1.0 after the first."""
    values: tuple[float, ...]

    def best(self, mode: Mode) -> tuple[float, float]:
        """Epoch and value of the best, the first of several."""
        known = [pair for pair in zip(self.epochs, self.values, strict=True) if math.isfinite(pair[1])]
        return (max if mode == "max" else min)(known, key=lambda pair: pair[1])


def curves_of(history: History) -> dict[str, Curve]:
    """The curves of one run, by metric; none of a run that was never evaluated, nor of what was never finite.

    A step's place in epochs follows from `val/epoch` or `eval/epoch`, which say after how many steps an epoch was over.
    What the store holds for infinity is NaN here: nothing is drawn there.
    """
    ends = history.get("val/epoch") or history.get("eval/epoch", {})
    if not ends:
        return {}
    last = max(ends)
    steps_an_epoch = (last + 1) / (ends[last] + 1)
    return {
        name: Curve(
            tuple((step + 1) / steps_an_epoch for step in sorted(values)),
            tuple(values[step] if abs(values[step]) < MAX_VALUE else math.nan for step in sorted(values)),
        )
        for name, values in history.items()
        if name not in EPOCHS and any(abs(value) < MAX_VALUE for value in values.values())
    }


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over seeds, at the epochs that all have; NaN counts as missing."""
    by_epoch: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            by_epoch.setdefault(round(epoch, 6), []).append(value)
    kept = {epoch: values for epoch, values in sorted(by_epoch.items()) if len(values) == len(curves)}
    return Curve(tuple(kept), tuple(spread(values).mean for values in kept.values()))


def read_history(store: RunStore, run: StoredRun, metrics: Sequence[str]) -> History:
    """A run's values of these metrics; of a result that was taken over, those of the run that measured it."""
    source = run.tags.get(REUSED_TAG, run.run_id)
    known = [name for name in (epoch_metric("eval/epoch", run.metrics), *metrics) if name in run.metrics]
    return {name: {each.step: each.value for each in store.history(source, name)} for name in known}


def run_curves_figure(store: RunStore, run: StoredRun) -> ReportFigure:
    """The curves of one run: training and held-out loss, and its metrics.

    Raises:
        InputError: It was never evaluated.
    """
    where = f"run {run.name} ({run.run_id[:8]})"
    shown = [measured for name in SHOWN if (measured := epoch_metric(name, run.metrics)) in run.metrics]
    left_out = _reached_by_all(store, run)
    metrics = [name for name in shown if metric_name(name) not in left_out]
    curves = curves_of(read_history(store, run, (TRAIN, epoch_metric(TEST, run.metrics), *metrics)))
    if not metrics or metrics[0] not in curves:
        fix = "let it finish its first epoch, or name another run"
        raise InputError(where, "was never evaluated, and has no curves", fix=fix)
    epoch, value = curves[metrics[0]].best("max")
    caption = f"{run.name}: the best {metric_title(metrics[0])} is {_format_value(metrics[0], value)}, "
    caption += f"after epoch {epoch:g}. "
    caption += "Training loss: means over some steps each."
    numbers = {name: {"epochs": curve.epochs, "values": curve.values} for name, curve in curves.items()}
    return ReportFigure("curves", "Learning curves", caption, _draw_run(curves, metrics), numbers)


def _reached_by_all(store: RunStore, run: StoredRun) -> frozenset[str]:
    """Names of metrics that say nothing, by the classes or videos that the run has recorded."""
    if run.params.get("task.kind", "recognition") == "retrieval":
        return reached_by_all("retrieval", int(run.metrics.get(epoch_metric("eval/videos", run.metrics), 0)))
    kind = run.params.get("task.kind", "recognition")
    return reached_by_all(kind, len(json.loads(artifact_text(store, run.run_id, CLASSES, default="[]"))))


def arm_curves(
    runs: Mapping[str, StoredRun], rows: Sequence[ArmResult], metric: str, *, store: RunStore
) -> dict[str, dict[str, Curve]]:
    """The mean curves over seeds of each arm that has any, by label: the metric, and the held-out loss.

    `runs` are by id; each arm has one row.
    """
    found: dict[str, dict[str, Curve]] = {}
    for row in rows:
        seeds = [runs[run.run_id] for run in row.runs if run.run_id in runs]
        made = [_as_test(curves_of(read_history(store, run, _of_epochs(run, (TEST, metric))))) for run in seeds]
        made = [curves for curves in made if metric in curves]
        if made:
            names = [name for name in (metric, TEST) if all(name in curves for curves in made)]
            label = row.label if row.label not in found else f"{row.table}: {row.label}"
            found[label] = {name: mean_curve([curves[name] for curves in made]) for name in names}
    return found


def _of_epochs(run: StoredRun, names: Sequence[str]) -> list[str]:
    return [epoch_metric(name, run.metrics) for name in names]


def _as_test(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Curves of the validation split under the names of the test split, so that arms of both kinds have one key."""
    return {f"e{name}" if name.startswith("val/") else name: curve for name, curve in curves.items()}


def arm_curves_figure(
    arms: Mapping[str, Mapping[str, Curve]], metric: str, *, mode: Mode = "max", seeds: int = 1, omitted: int = 0
) -> ReportFigure:
    """The curves of a sweep's arms: the metric, and the held-out loss; the best arm is named in the caption.

    `arms` are those of `arm_curves`; `omitted` is the number of arms that are not among them. A curve is the mean of at
    most `seeds`.
    """
    order = sorted(arms, key=lambda label: arms[label][metric].best(mode)[1], reverse=mode == "max")
    epoch, value = arms[order[0]][metric].best(mode)
    caption = f"Means over {seeds} seeds. " if seeds > 1 else ""
    caption += f"The best {metric_title(metric)} of any epoch is {_format_value(metric, value)}: {order[0]}, "
    caption += f"after epoch {epoch:g} (starred)."
    if len(order) > MAX_NAMED_ARMS:
        caption += f" Grey: the {len(order) - MAX_NAMED_ARMS} others."
    if omitted:
        caption += f" {omitted} arms that ended lower are left out."
    numbers = {
        label: {name: {"epochs": curve.epochs, "values": curve.values} for name, curve in curves.items()}
        for label, curves in arms.items()
    }
    return ReportFigure("curves", "Learning curves", caption, _draw_arms(arms, order, metric, mode), numbers)


def _format_value(metric: str, value: float) -> str:
    return f"{printed_value(metric, value):.1f}%" if is_fraction(metric) else f"{value:.4g}"


def _panels(height: float) -> tuple[Figure, Axes, Axes]:
    figure = new_figure(WIDTH, height)
    figure.set_layout_engine("constrained", w_pad=0.08)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure, left, right


def _draw_run(curves: Mapping[str, Curve], metrics: Sequence[str]) -> Figure:
    figure, left, right = _panels(3.5)
    losses = ((TRAIN, "training", SOFT), (TEST, "test", ORANGE), ("val/loss", "validation", ORANGE))
    for name, said, colour in losses:
        if name in curves:
            _line(left, curves[name], colour=colour, label=said, scale=1.0, marked=name != TRAIN)
    for name, colour in zip(metrics, COLOURS, strict=False):
        _line(right, curves[name], colour=colour, label=metric_title(name), scale=printed_value(name, 1.0), marked=True)
    _star(right, curves[metrics[0]], metrics[0], "max", colour=COLOURS[0])
    label_axes(left, x="epochs trained", y="loss")
    names = ", ".join(metric_title(name) for name in metrics)
    label_axes(right, x="epochs trained", y=f"{names}{', %' * is_fraction(metrics[0])}")
    for axes in (left, right):
        axes.set_xlim(left=0)
        end_shares(axes, y=axes is right and is_fraction(metrics[0]))
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return figure


def _draw_arms(arms: Mapping[str, Mapping[str, Curve]], order: Sequence[str], metric: str, mode: Mode) -> Figure:
    named = list(order[:MAX_NAMED_ARMS])
    figure, left, right = _panels(3.6 + 0.17 * ((len(named) + 1) // 2))
    handles: list[Line2D] = []
    for index, label in reversed(list(enumerate(order))):
        colour = COLOURS[index] if index < MAX_NAMED_ARMS else MUTED
        if TEST in arms[label] and metric != TEST:
            _line(left, arms[label][TEST], colour=colour, label=label, scale=1.0, best=index == 0)
        _line(right, arms[label][metric], colour=colour, label=label, scale=printed_value(metric, 1.0), best=index == 0)
        if index < MAX_NAMED_ARMS:
            handles.insert(0, Line2D([], [], color=colour, linewidth=2.6 if index == 0 else 1.5))
    _star(right, arms[order[0]][metric], metric, mode, colour=BLUE)
    label_axes(left, x="epochs trained", y="held-out loss")
    label_axes(right, x="epochs trained", y=f"{metric_title(metric)}{', %' * is_fraction(metric)}")
    for axes in (left, right):
        axes.set_xlim(left=0)
    end_shares(right, y=is_fraction(metric))
    if len(arms) > 1:
        names = [shorten(label, 52) for label in named]
        legend_below(figure, handles, names, columns=2, columnspacing=2)
    return figure


def _line(
    axes: Axes, curve: Curve, *, colour: str, label: str, scale: float, marked: bool = False, best: bool = False
) -> None:
    axes.plot(
        curve.epochs,
        [scale * value for value in curve.values],
        color=colour,
        label=label,
        linewidth=2.4 if best else 1.4,
        marker="o" if marked or len(curve.epochs) == 1 else "",
        markersize=3,
        zorder=3 if best else 1.5 if colour == MUTED else 2,
    )


def _star(axes: Axes, curve: Curve, metric: str, mode: Mode, *, colour: str) -> None:
    """The best epoch of a curve, with its value above, or below where a lower one is better."""
    epoch, value = curve.best(mode)
    spot = (epoch, printed_value(metric, value))
    axes.plot(*spot, "*", color=colour, markersize=12, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=4)
    text = axes.annotate(
        _format_value(metric, value),
        spot,
        (0, 8 if mode == "max" else -8),
        textcoords="offset points",
        ha="right" if epoch > 0.8 * max(curve.epochs) else "center",
        va="bottom" if mode == "max" else "top",
        fontsize=8,
        fontweight="bold",
        color=INK,
        zorder=5,
    )
    text.set_path_effects([withStroke(linewidth=2.2, foreground=PAPER)])
    axes.margins(y=0.14)
