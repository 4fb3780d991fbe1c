"""What a run gains over another, class by class, on the videos that both saw: the paper's Figure 5 for any two runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from side4video.core.errors import InputError
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.predictions import Predictions
from side4video.reports.figures.style import (
    BLUE,
    FAINT,
    ORANGE,
    SOFT,
    WIDTH,
    annotate_bar,
    label_axes,
    legend_below,
    new_figure,
    shorten,
    shorten_middle,
    style_axes,
)

MAX_NAMED_CLASSES = 40
"""Of more classes, only those at both ends are named."""
NAMED_PER_END = 15
"""So many at each end then."""


@dataclass(frozen=True)
class ClassGain:
    """A class in two runs; accuracies are fractions of its videos."""

    name: str
    videos: int
    accuracy: float
    against: float

    @property
    def gain(self) -> float:
        """How much more of them the run has right."""
        return self.accuracy - self.against


@dataclass(frozen=True)
class ClassDifferences:
    """All classes, by gain, the largest first."""

    run: str
    against: str
    """Empty for the accuracies of one run."""
    classes: tuple[ClassGain, ...]

    @property
    def videos(self) -> int:
        """That both runs saw."""
        return sum(each.videos for each in self.classes)

    @property
    def accuracy(self) -> tuple[float, float]:
        """Of the run and of the other, over all these videos."""
        weighed = [(each.videos * each.accuracy, each.videos * each.against) for each in self.classes]
        return sum(one for one, _ in weighed) / self.videos, sum(other for _, other in weighed) / self.videos


def class_differences(
    run: str, predictions: Predictions, against: str = "", other: Predictions | None = None
) -> ClassDifferences:
    """The gain of each class, over the videos that both runs saw; without another run, its accuracy.

    `run` and `against` are names, for the figure.

    Raises:
        InputError: They share no video, or call one of them by two classes.
    """
    theirs = {video.index: video for video in other.videos} if other else {}
    counts: dict[str, list[int]] = {}
    for video in predictions.videos:
        if other is not None and video.index not in theirs:
            continue
        right = False
        if other is not None:
            if theirs[video.index].label != video.label:
                found = (
                    f"video {video.index} is {video.label!r} in {run} and {theirs[video.index].label!r} in {against}"
                )
                raise InputError("--against", found, allowed="two runs on the same data", fix="name another run")
            right = theirs[video.index].is_right
        count = counts.setdefault(video.label, [0, 0, 0])
        count[0] += 1
        count[1] += video.is_right
        count[2] += right
    if not counts:
        raise InputError("--against", f"{against} saw no video that {run} saw", fix="name a run on the same data")
    made = [ClassGain(name, n, right / n, theirs / n) for name, (n, right, theirs) in counts.items()]
    return ClassDifferences(run, against, tuple(sorted(made, key=lambda each: (-each.gain, each.name))))


def per_class_figure(differences: ClassDifferences, *, worst: int = 0) -> ReportFigure:
    """The figure: bars, sorted, with the number of videos beside the name of each class.

    `worst` is the number of classes to draw, those in which the other run is worst (the paper's Figure 5 has ten); of
    one run alone, those in which it is worst itself. 0 draws all.
    """
    classes = list(differences.classes)
    own, others = differences.accuracy
    if differences.against:
        heading = "Change of the accuracy of each class"
        caption = f"{differences.run} less {differences.against}, top-1 on the {differences.videos:,} held-out videos "
        caption += "that both saw: "
        caption += f"{100 * own:.1f}% and {100 * others:.1f}%. "
        up, down = sum(each.gain > 0 for each in classes), sum(each.gain < 0 for each in classes)
        caption += f"Of {len(classes)} classes {up} gain and {down} lose."
    else:
        heading = "Accuracy of each class"
        caption = f"{differences.run}: top-1 {100 * own:.1f}% on {differences.videos:,} held-out videos "
        caption += f"of {len(classes)} classes."
    omitted = 0
    if worst:
        key = (
            (lambda each: (each.against, each.name))
            if differences.against
            else (lambda each: (each.accuracy, each.name))
        )
        classes = sorted(classes, key=key)[:worst]
        caption += f" Here: the {len(classes)} in which {differences.against or 'it'} is worst."
    elif len(classes) > MAX_NAMED_CLASSES:
        omitted = len(classes) - 2 * NAMED_PER_END
        caption += f" Named: {NAMED_PER_END} at each end; the curve has all, and {omitted} are between them."
    figure = _draw(differences, classes, omitted)
    numbers = [{**vars(each), "gain": each.gain} for each in classes]
    return ReportFigure("per-class", heading, caption, figure, numbers)


def _draw(differences: ClassDifferences, classes: Sequence[ClassGain], omitted: int) -> Figure:
    shown = [*classes[:NAMED_PER_END], *classes[-NAMED_PER_END:]] if omitted else list(classes)
    height = 1.1 + 0.24 * len(shown) + (1.5 if omitted else 0)
    figure = new_figure(WIDTH, max(2.2, height), layout="constrained")
    if omitted:
        above, axes = figure.subplots(2, 1, height_ratios=[1.2, 0.24 * len(shown)])
        _draw_curve(above, differences, classes)
    else:
        axes = figure.add_subplot()
    _draw_bars(axes, differences, shown, has_gap=bool(omitted))
    if differences.against and len({each.gain > 0 for each in shown if each.gain}) > 1:
        _draw_legend(figure, differences)
    return figure


def _draw_curve(axes: Axes, differences: ClassDifferences, classes: Sequence[ClassGain]) -> None:
    """All classes as a narrow strip, in their order."""
    style_axes(axes)
    values = [100 * (each.gain if differences.against else each.accuracy) for each in classes]
    indices = [index + side for index in range(1, len(values) + 1) for side in (-0.5, 0.5)]
    for colour, limit in ((BLUE, max), (ORANGE, min)):
        axes.fill_between(indices, [limit(value, 0.0) for value in values for _ in range(2)], color=colour, linewidth=0)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.margins(x=0.01)
    label_axes(
        axes, x=f"all {len(classes)} classes, in this order", y="gain, points" if differences.against else "top-1, %"
    )


def _draw_bars(axes: Axes, differences: ClassDifferences, shown: Sequence[ClassGain], *, has_gap: bool) -> None:
    style_axes(axes, grid="x")
    indices = [index + (has_gap and index >= len(shown) / 2) for index in range(len(shown))]
    values = [100 * (each.gain if differences.against else each.accuracy) for each in shown]
    axes.barh(indices, values, 0.68, color=[BLUE if value >= 0 else ORANGE for value in values], zorder=2)
    for index, each, value in zip(indices, shown, values, strict=True):
        text = f"{100 * each.against:.0f} → {100 * each.accuracy:.0f}%" if differences.against else f"{value:.0f}%"
        annotate_bar(axes, text, value, index)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.set_yticks(indices, [f"{shorten_middle(each.name, 44)} ({each.videos})" for each in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(indices) + 0.6, -0.6)
    if has_gap:
        axes.text(0.5, NAMED_PER_END, "⋮", transform=axes.get_yaxis_transform(), ha="center", va="center", color=FAINT)
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.16 * (high - low or 1.0)
    # No gain and no accuracy is more than 100; what is written behind a bar may stand outside the axes.
    axes.set_xlim(max(-100.0, low - 1.3 * room * (low < 0)), min(100.0, high + room))
    label_axes(axes, x="gain in top-1, points" if differences.against else "top-1, %", y="class (held-out videos)")


def _draw_legend(figure: Figure, differences: ClassDifferences) -> None:
    handles = [Line2D([], [], color=colour, linewidth=5) for colour in (BLUE, ORANGE)]
    names = [f"{shorten(name, 44)} is better" for name in (differences.run, differences.against)]
    legend_below(figure, handles, names, columns=2, handlelength=1)
