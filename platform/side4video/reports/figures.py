"""The two figures of a sweep as files: parallel coordinates of what was swept, and memory against the metric.

Import this when a figure is drawn and not before: it brings matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path

from side4video.reports.coordinates import parallel_coordinates_figure
from side4video.reports.drawing import save
from side4video.reports.front import pareto_figure
from side4video.reports.rows import METRIC, ArmRow, Mode


def parallel_coordinates(rows: Sequence[ArmRow], *, metric: str = METRIC, path: Path, mode: Mode = "max") -> Path:
    """Write the figure of `parallel_coordinates_figure` as a PNG of 150 dpi; returns its path."""
    return save(parallel_coordinates_figure(rows, metric=metric, mode=mode), path)


def pareto(rows: Sequence[ArmRow], *, metric: str = METRIC, path: Path, mode: Mode = "max") -> Path:
    """Write the figure of `pareto_figure` as a PNG of 150 dpi; returns its path."""
    return save(pareto_figure(rows, metric=metric, mode=mode), path)
