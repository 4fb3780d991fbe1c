"""Accuracy against the amount of training data: the paper's Figure 4, from runs that differ in nothing else.

The amount is a share of the training clips (`data.train_fraction`), or a number of clips of each class (`data.shots`).
Runs of a method on a backbone are a line, their seeds a point. Within a line they may differ in the amount and in what
repeats an experiment; between lines in anything that leaves the protocol as it is.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.transforms import offset_copy

from side4video.core.dotted import is_at_or_below
from side4video.core.errors import InputError
from side4video.core.text import sentence_start
from side4video.reports.arms import METRIC, Spread, spread
from side4video.reports.comparable import as_compared, check_runs, shown_of
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import (
    COLOURS,
    INK,
    WIDTH,
    end_shares,
    label_axes,
    new_figure,
    shorten,
    style_axes,
)
from side4video.reports.paper_report import REPEATED
from side4video.spec.load import SpecError
from side4video.spec.protocol import describe_differences
from side4video.tasks.metrics import is_fraction, metric_title, printed_value
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import STATE_TAG

SHARE, SHOTS = "data.train_fraction", "data.shots"
_LINE = ("method", "backbone")
"""Sections that make a line."""
_NAMES = ("method.kind", "backbone.model", "backbone.kind")
_BESIDE = 6.0
"""Points by which the seeds stand right of their mean."""
_LOGARITHMIC_FROM = 5
"""Ratio of the largest share to the smallest."""


@dataclass(frozen=True)
class SharePoint:
    """One amount of training data."""

    share: float
    """0 to 1; or a number of clips of each class."""
    values: tuple[float, ...]
    """The metric of each seed."""

    @property
    def spread(self) -> Spread:
        """Over the seeds."""
        return spread(self.values)


@dataclass(frozen=True)
class EfficiencyLine:
    """A method on a backbone."""

    label: str
    points: tuple[SharePoint, ...]
    """By amount."""
    field: str = SHARE
    """Which amount it is."""


def varied_amount(runs: Sequence[StoredRun]) -> str:
    """The field of the amount in which runs differ: `data.shots` if several numbers of clips occur."""
    return SHOTS if len({run.params.get(SHOTS) for run in runs if _has_amount(run, SHOTS)}) > 1 else SHARE


def _has_amount(run: StoredRun, field: str) -> bool:
    text = run.params.get(field, "")
    return text.isdecimal() if field == SHOTS else bool(text)


def efficiency_lines(
    runs: Sequence[StoredRun], *, metric: str = METRIC, anyway: Collection[str] = ()
) -> tuple[list[EfficiencyLine], list[str]]:
    """The lines, and sentences about differences that were allowed.

    Of two runs of one line, amount and seed, the first counts. Runs may differ in the fields `anyway` although nothing
    shows it.

    Raises:
        InputError: Runs differ in the protocol, or runs of a line in more than the share and the seed; it names the
            field, its values and the runs. Or there is nothing to compare.
    """
    field = varied_amount(runs)
    runs = [
        run
        for run in runs
        if run.tags.get(STATE_TAG) == "finished" and metric in run.metrics and _has_amount(run, field)
    ]
    if len({_share(run, field) for run in runs}) < 2:
        shares = ", ".join(sorted({f"{run.params[SHARE]} in {run.name} ({run.run_id[:8]})" for run in runs})) or "none"
        raise InputError(
            SHARE,
            f"runs with {metric} have {'one share' if runs else 'no share'} of the training data: {shares}",
            allowed="finished runs of at least two shares",
            fix="run it with --set data.train_fraction=0.1, or sweep it: grid: {data.train_fraction: [0.1, 0.5, 1.0]}",
        )
    compared = [as_compared(run, shown=shown_of(run, (field,))) for run in runs]
    fix = "leave some out, or allow it: --anyway {field}"
    found = check_runs(compared, where="data-efficiency", metrics=(metric,), anyway=anyway, fix=fix)
    notes = describe_differences([each for each in found if each.is_hidden])
    groups: dict[tuple[tuple[str, str], ...], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault(_line_of(run), []).append(run)
    notes += [sentence for group in groups.values() for sentence in _check_line(group, anyway, field)]
    labels = _labels(list(groups))
    lines = [
        EfficiencyLine(label, _points(group, metric, field), field)
        for label, group in zip(labels, groups.values(), strict=True)
    ]
    return sorted(lines, key=lambda line: -line.points[-1].spread.mean), notes


def _share(run: StoredRun, field: str) -> float:
    return float(run.params[field])


def _line_of(run: StoredRun) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in run.params.items() if any(is_at_or_below(k, each) for each in _LINE)))


def _check_line(group: Sequence[StoredRun], anyway: Collection[str], field: str) -> list[str]:
    """What runs of a line differ in beside the share, if it is allowed.

    Raises:
        SpecError: It is not: a line for each field.
    """
    names = dict.fromkeys(name for run in group for name in run.params if not name.startswith(REPEATED))
    notes, problems = [], []
    for name in names:
        if name == field or any(is_at_or_below(name, each) for each in _LINE):
            continue
        values: dict[str, list[str]] = {}
        for run in group:
            values.setdefault(run.params.get(name, "none"), []).append(f"{run.name} ({run.run_id[:8]})")
        if len(values) < 2:
            continue
        said = "; ".join(f"{value} in {', '.join(labels[:3])}" for value, labels in values.items())
        if any(is_at_or_below(name, each) for each in anyway):
            notes.append(f"Runs of a line differ in {name}: {said}.")
            continue
        problems.append(
            InputError(
                f"data-efficiency: {name}",
                f"{said}: more than the amount of the data differs",
                allowed=f"runs of a method that differ in {field} and the seed",
                fix=f"leave some out, or allow it: --anyway {name}",
            )
        )
    if problems:
        raise SpecError(problems)
    return notes


def _points(group: Sequence[StoredRun], metric: str, field: str) -> tuple[SharePoint, ...]:
    by_share: dict[float, dict[str, float]] = {}
    for run in group:
        by_share.setdefault(_share(run, field), {}).setdefault(run.params.get("seed", ""), run.metrics[metric])
    return tuple(SharePoint(share, tuple(values.values())) for share, values in sorted(by_share.items()))


def _labels(lines: Sequence[tuple[tuple[str, str], ...]]) -> list[str]:
    """Method and backbone, and what tells lines apart that have these in common."""
    documents = [dict(line) for line in lines]
    short = [", ".join(document[name] for name in _NAMES[:2] if name in document) or "runs" for document in documents]
    labels = []
    for document, label in zip(documents, short, strict=True):
        alike = [other for other, same in zip(documents, short, strict=True) if same == label]
        names = sorted({name for other in alike for name in other})
        differing = [name for name in names if len({other.get(name, "none") for other in alike}) > 1]
        more = [f"{name.partition('.')[2]} {document.get(name, 'none')}" for name in differing]
        labels.append(", ".join([label, *more]))
    return labels


def data_efficiency_figure(
    lines: Sequence[EfficiencyLine], *, metric: str = METRIC, notes: Sequence[str] = ()
) -> ReportFigure:
    """The figure: the mean over seeds with its deviation, and each seed as a dot."""
    seeds = sorted({len(point.values) for line in lines for point in line.points})
    title = metric_title(metric)
    is_share = lines[0].field == SHARE
    amount = "share of the training clips, class by class" if is_share else "number of training clips of each class"
    caption = f"{sentence_start(title)} on the whole test set against the {amount}; a smaller one is a subset of a "
    caption += "larger one."
    if seeds[-1] > 1:
        counted = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
        caption += f" Means over {counted} seeds (dots) and their sample standard deviation."
    name = "share" if is_share else "shots"
    numbers = {
        line.label: [
            {name: point.share, "values": list(point.values), "mean": point.spread.mean} for point in line.points
        ]
        for line in lines
    }
    caption = " ".join([caption, *notes])
    return ReportFigure("data-efficiency", "Accuracy and training data", caption, _draw(lines, metric), numbers)


def _draw(lines: Sequence[EfficiencyLine], metric: str) -> Figure:
    figure = new_figure(WIDTH, 4.4, layout="constrained")
    axes = style_axes(figure.add_subplot(), grid="both")
    shares = sorted({point.share for line in lines for point in line.points})
    factor = 100 if lines[0].field == SHARE else 1
    styles = ("-", "--", ":")
    beside = offset_copy(axes.transData, figure, x=_BESIDE, units="points")
    for index, line in enumerate(lines):
        colour, style = COLOURS[index % len(COLOURS)], styles[index // len(COLOURS) % len(styles)]
        spreads = [point.spread for point in line.points]
        axes.errorbar(
            [factor * point.share for point in line.points],
            [printed_value(metric, each.mean) for each in spreads],
            yerr=[printed_value(metric, each.deviation) if each.count > 1 else 0.0 for each in spreads],
            color=colour,
            linestyle=style,
            marker="o",
            markersize=5,
            linewidth=1.8,
            elinewidth=1.0,
            capsize=3,
            label=shorten(line.label, 60),
            zorder=3,
        )
        for point in line.points:
            if len(point.values) > 1:
                values = [printed_value(metric, value) for value in point.values]
                at = [factor * point.share] * len(values)
                axes.plot(at, values, "o", markersize=3, color=colour, alpha=0.5, linewidth=0, transform=beside)
    _scale(figure, [factor * share for share in shares], most=100.0 if factor > 1 else math.inf)
    end_shares(axes, y=is_fraction(metric))
    label_axes(
        axes,
        x="share of the training clips, %" if factor > 1 else "training clips of each class",
        y=f"{metric_title(metric)}{', %' * is_fraction(metric)}",
    )
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return figure


def _scale(figure: Figure, amounts: Sequence[float], *, most: float) -> None:
    axes = figure.axes[0]
    if amounts[-1] > _LOGARITHMIC_FROM * amounts[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(amounts[0] / 1.25, min(most, 1.25 * amounts[-1]))
    else:
        axes.set_xlim(0, min(most, 1.05 * amounts[-1]))
    axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
