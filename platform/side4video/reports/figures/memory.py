"""Training memory of methods on backbones of several sizes: the paper's Figure 1.

The paper's figures, what is planned here, and what runs measured stand side by side. The paper's are those of its
Table 2, whose caption gives the batches: 32 clips on ViT-B/16, 16 on ViT-L/14; the planner takes the same, on one
worker. E/14, which Table 2 does not have, is planned with 8.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from side4video.core.errors import InputError
from side4video.core.progress import SILENT, Progress
from side4video.core.units import as_gib
from side4video.planning.plan_cache import planned_peak
from side4video.reports.arms import MEASURED_MEMORY, Spread, spread
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    WIDTH,
    annotate_bar,
    label_axes,
    new_figure,
    shorten,
    style_axes,
)
from side4video.reports.paper import TABLES
from side4video.reports.paper_report import find_runs
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment
from side4video.tracking.run_store import RunStore

CLASSES = 174
"""Of Something-Something V2, which Table 2 is about."""
CLIPS = {"ViT-B/16": 32, "ViT-L/14": 16, "ViT-E/14": 8}
"""A step's, by backbone."""
SETTINGS = ("cluster={}", "data.repeated_sampling=1", "optimization.accumulation=1")
"""What the paper's memory is of, whatever the recipe says of workers: one GPU and one part."""
ADDED = {"ssv2-vite14": ("ViT-E/14", "Side4Video, light")}
"""Experiments beside those of Table 2, with their backbone and method as the paper calls them."""


@dataclass(frozen=True)
class MemoryRow:
    """A method on a backbone."""

    backbone: str
    method: str
    experiment: str
    """The name of the experiment here."""
    clips: int
    """Of the step that was planned; 0 without a plan."""
    tower_parameters: int
    """Of the backbone; 0 without a plan."""
    paper_gb: float
    """As printed; NaN where the paper has none."""
    planned_gib: float
    """NaN where its file was not given."""
    measured_gib: Spread
    """Over the seeds of runs with a GPU, at the batch of the run; of no values where there are none."""
    measured_clips: float = math.nan
    """What such a run's worker took in a step."""


def memory_rows(files: Sequence[Path], store: RunStore | None, *, progress: Progress = SILENT) -> list[MemoryRow]:
    """Table 2's methods, and what else was given, smaller backbones first.

    Planning an experiment takes some seconds. Without a store there are no measured values.

    Raises:
        InputError: A file is no experiment.
    """
    rows = {
        name: MemoryRow(row.group, row.method, name, 0, 0, row.figures["memory"], math.nan, spread(()))
        for row in TABLES["table2"].rows
        for name in row.experiments.values()
    }
    for number, file in enumerate(files):
        spec = load_experiment(file)
        progress.report(f"planning {spec.name} ({number + 1} of {len(files)})")
        known = rows.get(spec.name) or _added(spec)
        rows[spec.name] = _planned(known, file)
    found = [_measured(row, store) for row in rows.values()] if store else list(rows.values())
    sizes = {row.backbone: row.tower_parameters for row in found if row.tower_parameters}
    order = list(dict.fromkeys([*CLIPS, *(row.backbone for row in found)]))
    return sorted(found, key=lambda row: (sizes.get(row.backbone, 0), order.index(row.backbone)))


def files_of_table_2(folder: Path) -> list[Path]:
    """The files below a folder whose experiments stand in Table 2, and E/14's, in the order of the table.

    Raises:
        InputError: There is none.
    """
    names = [*(name for row in TABLES["table2"].rows for name in row.experiments.values()), *ADDED]
    found = {}
    for name in ("ssv2", "comparisons"):
        for file in sorted((folder / name).glob("*.yaml")):
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
            if isinstance(document, dict):
                found[document.get("name")] = file
    files = [found[name] for name in names if name in found]
    if not files:
        raise InputError(str(folder), "has no file of Table 2", fix="install side4video anew, or name the experiments")
    return files


def _added(spec: Experiment) -> MemoryRow:
    model = getattr(spec.backbone, "model", spec.backbone.kind)
    backbone, method = ADDED.get(spec.name, (model, spec.name))
    return MemoryRow(backbone, method, spec.name, 0, 0, math.nan, math.nan, spread(()))


def _planned(row: MemoryRow, file: Path) -> MemoryRow:
    """The row with its plan: at the paper's batch where the paper has the backbone, else as the file has it."""
    clips = CLIPS.get(row.backbone)
    changes = (*SETTINGS, f"optimization.batch_size={clips}") if clips else ()
    spec = load_experiment(file, changes)
    planned = planned_peak(spec, classes=CLASSES)
    peak = as_gib(planned.peak)
    return replace(row, clips=spec.clips_per_part, tower_parameters=planned.tower_parameters, planned_gib=peak)


def _measured(row: MemoryRow, store: RunStore) -> MemoryRow:
    runs = [run for run in find_runs(store, row.experiment).runs if MEASURED_MEMORY in run.metrics]
    if not runs:
        return row
    params = runs[0].params
    parts = _whole(params, "cluster.workers") * _whole(params, "optimization.accumulation")
    clips = _whole(params, "optimization.batch_size") * _whole(params, "data.repeated_sampling") / parts
    return replace(row, measured_gib=spread(run.metrics[MEASURED_MEMORY] for run in runs), measured_clips=clips)


def _whole(params: Mapping[str, str], name: str) -> int:
    return int(params.get(name, "1"))


def memory_figure(rows: Sequence[MemoryRow]) -> ReportFigure:
    """The figure: a bar for the paper and one for the plan, side by side, and a diamond for what was measured."""
    planned = [row for row in rows if math.isfinite(row.planned_gib)]
    less = [row.paper_gb / row.planned_gib for row in planned if row.method.startswith("Side4Video")]
    less = [ratio for ratio in less if math.isfinite(ratio)]
    caption = "Peak memory of a training step, 8 frames. The paper: GB as printed in Table 2, measured on an A100."
    if planned:
        caption += f" Planned: what a step here takes with the clips in brackets, in GiB; no GPU was used ({CLASSES} "
        caption += "classes)."
    if less:
        caption += f" Side4Video takes {_span(less)} less here than in the paper."
    if any(row.measured_gib.count for row in rows):
        caption += " Measured: the peak of a worker in runs of the store, at the clips that stand beside it."
    numbers = [
        {
            "backbone": row.backbone,
            "method": row.method,
            "experiment": row.experiment,
            "clips": row.clips or None,
            "tower_parameters": row.tower_parameters or None,
            "paper_gb": _or_none(row.paper_gb),
            "planned_gib": _or_none(row.planned_gib),
            "measured_gib": _or_none(row.measured_gib.mean),
        }
        for row in rows
    ]
    source = "Source: Something-Something V2, Table 2 of the paper and experiments of this project."
    title = "Training memory and the size of the backbone"
    return ReportFigure("memory", title, caption, _draw(rows), numbers, source=source)


def _span(ratios: Sequence[float]) -> str:
    low, high = min(ratios), max(ratios)
    return f"{low:.0f} times" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f} times"


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


_BAR = 0.36


def _draw(rows: Sequence[MemoryRow]) -> Figure:
    backbones = list(dict.fromkeys(row.backbone for row in rows))
    counts = [sum(row.backbone == name for row in rows) for name in backbones]
    figure = new_figure(WIDTH, 1.1 + 0.36 * sum(counts) + 0.38 * len(backbones))
    figure.set_layout_engine("constrained", h_pad=0.06)
    panels = figure.subplots(len(backbones), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    values = [value for row in rows for value in (row.paper_gb, row.planned_gib, row.measured_gib.mean)]
    most = max(filter(math.isfinite, values), default=1.0)
    for axes, backbone in zip(panels, backbones, strict=True):
        _draw_backbone(axes, [row for row in rows if row.backbone == backbone])
    panels[-1].set_xlim(0, 1.12 * most)
    label_axes(panels[-1], x="peak memory of a training step (the paper: GB; here: GiB)", y="method")
    handles: list[Patch | Line2D] = [
        Patch(facecolor="none", edgecolor=ORANGE, label="the paper, measured"),
        Patch(facecolor=BLUE, edgecolor=BLUE, label="here, planned"),
    ]
    if any(row.measured_gib.count for row in rows):
        mark = Line2D([], [], color=INK, marker="D", markersize=5, linestyle="none", label="here, measured")
        handles.append(mark)
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8, frameon=False, labelcolor=INK)
    return figure


def _draw_backbone(axes: Axes, rows: Sequence[MemoryRow]) -> None:
    style_axes(axes, grid="x")
    size, clips = max(row.tower_parameters for row in rows), max(row.clips for row in rows)
    parameters = f"{size / 1e9:.1f} billion parameters" if size >= 1e9 else f"{size / 1e6:.0f} M parameters"
    details = [*([parameters] if size else []), *([f"({clips} clips)"] if clips else [])]
    axes.set_title(" ".join([rows[0].backbone, *(["·"] if details else []), *details]), **_TITLE)
    for index, row in enumerate(rows):
        _bar(axes, index - _BAR / 2, row.paper_gb, colour=ORANGE, filled=False)
        _bar(axes, index + _BAR / 2, row.planned_gib, colour=BLUE, filled=True)
        if row.measured_gib.count:
            value, clips_here = row.measured_gib.mean, row.measured_clips
            axes.plot(value, index + _BAR / 2, "D", color=INK, markersize=5, zorder=4)
            text = f"{value:.1f} measured" + (f", {clips_here:g} clips" if clips_here != row.clips else "")
            end = max(value, row.planned_gib if math.isfinite(row.planned_gib) else 0)
            offset = (26 if math.isfinite(row.planned_gib) else 6, 0)
            axes.annotate(text, (end, index + _BAR / 2), offset, textcoords="offset points", **_SMALL)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), [shorten(row.method, 32) for row in rows])
    axes.tick_params(axis="y", length=0)
    label_axes(axes, y="method")
    axes.tick_params(axis="x", labelbottom=axes.get_subplotspec().is_last_row())  # type: ignore[union-attr] made by subplots


_TITLE = {"loc": "left", "fontsize": 9, "fontweight": "bold", "color": INK}
_SMALL = {"va": "center", "fontsize": 7.5, "color": FAINT}


def _bar(axes: Axes, index: float, value: float, *, colour: str, filled: bool) -> None:
    if math.isfinite(value):
        face = colour if filled else "none"
        axes.barh(index, value, _BAR, facecolor=face, edgecolor=colour, linewidth=1.0, zorder=3)
        annotate_bar(axes, f"{value:.1f}", value, index)
