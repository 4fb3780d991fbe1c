"""The figures of a sweep: those of its table, and those that its runs hold more of."""

from collections.abc import Sequence
from dataclasses import replace

from side4video.core.errors import InputError
from side4video.reports.arms import METRIC, ArmResult, Mode, best_rows, counted_runs, distinct_arms, metric_spread
from side4video.reports.figures.confusion import confusion_figure, confusion_of
from side4video.reports.figures.curves import MAX_ARMS, arm_curves, arm_curves_figure
from side4video.reports.figures.data_efficiency import data_efficiency_figure, efficiency_lines, varied_amount
from side4video.reports.figures.figure import ReportFigure
from side4video.reports.figures.parallel_coordinates import draw_parallel_coordinates
from side4video.reports.figures.pareto import draw_pareto
from side4video.reports.figures.per_class import class_differences, per_class_figure
from side4video.reports.figures.predictions import Predictions, read_predictions
from side4video.reports.figures.seats import seats_figure
from side4video.reports.figures.source import source_of
from side4video.reports.figures.step_time import read_budget, step_time_figure
from side4video.runs.pass_logger import read_seats
from side4video.tasks.metrics import metric_title
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.sweep_logger import SweepLogger

COORDINATES, PARETO = "parallel-coordinates", "pareto"
"""Names of the two figures that every table of arms has."""


def coordinates_figure(rows: Sequence[ArmResult], *, metric: str = METRIC, mode: Mode = "max") -> ReportFigure:
    """Which settings lead where."""
    figure = draw_parallel_coordinates(rows, metric=metric, mode=mode)
    caption = f"Each line is an arm: its settings, and its {metric_title(metric)} on the last axis. Blue is better."
    return ReportFigure(COORDINATES, "Swept parameters", caption, figure)


def pareto_figure(rows: Sequence[ArmResult], *, metric: str = METRIC, mode: Mode = "max") -> ReportFigure:
    """Memory against the metric."""
    better = "Up" if mode == "max" else "Down"
    caption = f"Each point is an arm. {better} and to the left is better. No arm beats one on the front in both."
    heading = f"Peak memory and {metric_title(metric)}"
    return ReportFigure(PARETO, heading, caption, draw_pareto(rows, metric=metric, mode=mode))


def sweep_source(record: SweepLogger, name: str = "") -> str:
    """What a sweep's figures are of: the sweep, its data set, the number of videos and the date."""
    runs = list(record.children().values())
    sweep = f"sweep {name or record.key} ({record.parent[:8]}), {len(runs)} arms" if len(runs) > 1 else ""
    return source_of(runs, name=sweep)


def sweep_figures(
    record: SweepLogger, rows: Sequence[ArmResult], *, metric: str, mode: Mode, name: str = ""
) -> list[ReportFigure]:
    """What a sweep's runs hold beside its table, for its page; what was not recorded has no figure.

    Learning curves of the arms, and accuracy against the share of the training data where that varies; of the best arm
    what each class gains over the reference, what it confuses, and where the time of its step goes. `rows` are what its
    arms measured, compared by `metric`; `name` is the sweep's.
    """
    source = sweep_source(record, name)
    drawn = _sweep_figures(record, rows, metric=metric, mode=mode)
    return [replace(each, source=each.source or source) for each in drawn]


def _sweep_figures(record: SweepLogger, rows: Sequence[ArmResult], *, metric: str, mode: Mode) -> list[ReportFigure]:
    runs = {run.run_id: run for run in record.children().values()}
    arms = distinct_arms(rows)
    figures = [*_curves(record.store, runs, arms, metric=metric, mode=mode), *_efficiency(list(runs.values()), metric)]
    passes = read_seats(record.store, record.parent)
    if any(each["stays"] for state in passes.values() for each in state["records"]):
        figures.append(seats_figure(passes, name=record.key))
    best = next((arms[index] for index in sorted(best_rows(arms, metric, mode=mode))), None)
    if best is None:
        return figures
    reference = next((arm for arm in arms if arm.is_reference and arm is not best), None)
    best_predictions = _predictions(record.store, runs, best)
    other = _predictions(record.store, runs, reference) if reference else None
    if best_predictions and reference and other:
        figures.append(per_class_figure(class_differences(best.label, best_predictions, reference.label, other)))
    if best_predictions:
        figures.append(confusion_figure(confusion_of(best_predictions), run=best.label))
    timed = [(arm, runs.get(_first_seed(arm))) for arm in (best, reference) if arm is not None]
    budgets = [
        read_budget(record.store, run, label=arm.label)
        for arm, run in timed
        if run is not None and "time/mean_data_wait_s" in run.metrics
    ]
    return [*figures, step_time_figure(budgets)] if budgets else figures


def sweep_curves(
    record: SweepLogger, rows: Sequence[ArmResult], *, metric: str, mode: Mode, name: str = ""
) -> ReportFigure:
    """The learning curves of a sweep's arms.

    Raises:
        InputError: None was evaluated.
    """
    runs = {run.run_id: run for run in record.children().values()}
    figures = _curves(record.store, runs, distinct_arms(rows), metric=metric, mode=mode)
    if not figures:
        raise InputError(f"sweep {name}", "no arm was evaluated yet", fix="run it: side4video sweep SWEEP")
    return replace(figures[0], source=sweep_source(record, name))


def _curves(
    store: RunStore, runs: dict[str, StoredRun], arms: Sequence[ArmResult], *, metric: str, mode: Mode
) -> list[ReportFigure]:
    # A curve has no value of the best epoch: what it ends with is what it has everywhere.
    measured = metric.replace("best/", "eval/", 1)
    known = [arm for arm in arms if metric_spread(arm, measured).count]
    ranked = sorted(known, key=lambda arm: metric_spread(arm, measured).mean, reverse=mode == "max")
    curves = arm_curves(runs, ranked[:MAX_ARMS], measured, store=store)
    if not curves:
        return []
    seeds = max(len(arm.runs) for arm in ranked[:MAX_ARMS])
    return [arm_curves_figure(curves, measured, mode=mode, seeds=seeds, omitted=max(0, len(ranked) - MAX_ARMS))]


def _efficiency(runs: Sequence[StoredRun], metric: str) -> list[ReportFigure]:
    """Accuracy against the amount of training data, where that is what the sweep is about."""
    if len({run.params.get(varied_amount(runs)) for run in runs}) < 2:
        return []
    try:
        lines, notes = efficiency_lines(runs, metric=metric)
    except InputError:
        return []  # more than the share differs within a line: the table says what
    return [data_efficiency_figure(lines, metric=metric, notes=notes)]


def _predictions(store: RunStore, runs: dict[str, StoredRun], arm: ArmResult) -> Predictions | None:
    run = runs.get(_first_seed(arm))
    if run is None:
        return None
    try:
        return read_predictions(store, run)
    except InputError:
        return None


def _first_seed(arm: ArmResult) -> str:
    """The first seed that counts."""
    return next((run.run_id for run in counted_runs(arm)), "")
