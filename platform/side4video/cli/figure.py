"""`side4video figure`: figures for papers, from the planner and the run store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.errors import InputError
from side4video.terminal.options import anyway, as_json, example
from side4video.terminal.output import print_json

if TYPE_CHECKING:
    from side4video.reports.figures.figure import ReportFigure
    from side4video.reports.figures.step_time import StepBudget
    from side4video.tracking.run_store import RunStore, StoredRun

_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Write the figure into this folder, as SVG, PDF and PNG.",
)
_metric = click.option(
    "--metric", default="", help="Metric to draw; by default eval/top1, or eval/t2v_r1 for retrieval."
)


@click.group(short_help="Draw a figure of runs or sweeps as SVG, PDF and PNG.")
def figure() -> None:
    """Draw a figure as SVG, PDF and PNG.

    RUN is an id, the start of an id, or a name (the newest run of that name). SWEEP is a name or the id of its run.
    Runs are read from the store at $MLFLOW_TRACKING_URI, or from the local store. --json prints the figure's numbers.
    """


@figure.command(
    short_help="Training memory by backbone size (Figure 1).",
    epilog=example("figure memory --out figures"),
)
@click.argument("specs", nargs=-1, type=click.Path(path_type=Path), metavar="[SPEC]...")
@_out
@as_json
def memory(specs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Draw the training memory against the size of the backbone, as in the paper's Figure 1.

    It shows the paper's values (Table 2), the planned memory at the paper's batch size, and the memory of runs. SPEC is
    a YAML file or the name of a preset. Without SPEC, it uses the presets of Table 2.
    """
    from side4video.reports.figures.memory import files_of_table_2, memory_figure, memory_rows
    from side4video.spec.presets import experiments_folder
    from side4video.terminal.progress import ProgressView

    files = list(specs) or files_of_table_2(experiments_folder())
    store = _store()
    with ProgressView("figure") as view:
        rows = memory_rows(files, store, progress=view)
    _deliver(memory_figure(rows), out, as_json=as_json)


@figure.command(
    short_help="Memory and accuracy of the arms of a sweep.",
    epilog=example("figure pareto quickstart-sweep --out pareto"),
)
@click.argument("sweep")
@_out
@as_json
def pareto(sweep: str, out: Path, as_json: bool) -> None:
    """Draw the memory and the metric of the arms of SWEEP, the paper's values, and the Pareto front.

    The Pareto front joins the arms that no other arm beats in both memory and metric.
    """
    from side4video.reports.figures.sweep import pareto_figure

    _deliver(_of_arms(sweep, pareto_figure), out, as_json=as_json)


@figure.command(
    short_help="The settings and metric of each arm, on parallel axes.",
    epilog=example("figure coordinates quickstart-sweep --out coordinates"),
)
@click.argument("sweep")
@_out
@as_json
def coordinates(sweep: str, out: Path, as_json: bool) -> None:
    """Draw parallel coordinates of SWEEP: an axis for each field that varies, and a line for each arm."""
    from side4video.reports.figures.sweep import coordinates_figure

    _deliver(_of_arms(sweep, coordinates_figure), out, as_json=as_json)


@figure.command(
    short_help="Who had which seat of a sweep, by epoch.",
    epilog=example("figure seats my-search --out seats"),
)
@click.argument("sweep")
@_out
@as_json
def seats(sweep: str, out: Path, as_json: bool) -> None:
    """Draw the seats of SWEEP over the epochs of its pass: which arm sat where, and how it ended."""
    from side4video.reports.figures.seats import seats_figure
    from side4video.reports.figures.sweep import sweep_source
    from side4video.reports.stored_sweep import read_sweep
    from side4video.runs.pass_logger import read_seats

    document, record = read_sweep(_store(), sweep)
    drawn = seats_figure(read_seats(record.store, record.parent), name=document.spec.name)
    _deliver(replace(drawn, source=sweep_source(record, document.spec.name)), out, as_json=as_json)


@figure.command(
    "data-efficiency",
    short_help="Accuracy by amount of training data (Figure 4).",
    epilog=example("figure data-efficiency quickstart linear-probe --out data-efficiency"),
)
@click.argument("names", nargs=-1, required=True, metavar="RUN|SWEEP...")
@_metric
@anyway
@_out
@as_json
def data_efficiency(names: tuple[str, ...], metric: str, anyway: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Draw the accuracy against the share of the training data, as in the paper's Figure 4.

    A sweep stands for all its arms, and a name for all finished runs of that name. All runs of one method on one
    backbone make a line. They may differ only in data.train_fraction and seed. All lines must have the same data set
    and evaluation settings.
    """
    from side4video.reports.figures.data_efficiency import data_efficiency_figure, efficiency_lines

    store = _store()
    runs = {run.run_id: run for name in names for run in _all_runs(store, name)}
    drawn = metric or _title(list(runs.values()))
    lines, notes = efficiency_lines(list(runs.values()), metric=drawn, anyway=anyway)
    found = data_efficiency_figure(lines, metric=drawn, notes=notes)
    _deliver(found, out, as_json=as_json, runs=list(runs.values()))


@figure.command(
    "per-class",
    short_help="Accuracy of each class, or its change (Figure 5).",
    epilog=example("figure per-class quickstart --against linear-probe --out per-class"),
)
@click.argument("run")
@click.option(
    "--against",
    default="",
    metavar="RUN",
    help="Run to compare with; `zero-shot` is the newest zero-shot run on the same data. Without it, the figure shows "
    "the accuracy of each class.",
)
@click.option(
    "--worst", type=click.IntRange(min=1), default=None, help="Show only the N classes in which AGAINST is worst."
)
@anyway
@_out
@as_json
def per_class(run: str, against: str, worst: int | None, anyway: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Draw how much better or worse RUN is than another run in each class, as in the paper's Figure 5.

    It uses the test clips of both runs. Figure 5 itself is `--against zero-shot --worst 10`.
    """
    from side4video.reports.comparable import as_compared, check_runs
    from side4video.reports.figures.per_class import class_differences, per_class_figure
    from side4video.reports.figures.predictions import read_predictions, zero_shot_run

    store = _store()
    own = store.find(run)
    predictions, shown = read_predictions(store, own), [own]
    if not against:
        differences = class_differences(_called(own), predictions)
    else:
        other = zero_shot_run(store, own) if against == "zero-shot" else store.find(against)
        theirs = read_predictions(store, other)
        shown.append(other)
        fix = "name runs that agree, or allow it: --anyway {field}"
        check_runs(
            [as_compared(own), as_compared(other)], where="per-class", metrics=("eval/top1",), anyway=anyway, fix=fix
        )
        differences = class_differences(_called(own), predictions, _called(other), theirs)
    drawn = per_class_figure(differences, worst=worst or 0)
    _deliver(drawn, out, as_json=as_json, runs=shown, videos=differences.videos)


@figure.command(
    short_help="Learning curves: loss and metrics by epoch.", epilog=example("figure curves quickstart --out curves")
)
@click.argument("name", metavar="RUN|SWEEP")
@_out
@as_json
def curves(name: str, out: Path, as_json: bool) -> None:
    """Draw the learning curves of a RUN, or of the arms of a SWEEP. The best epoch is marked."""
    from side4video.reports.figures.curves import run_curves_figure
    from side4video.reports.figures.sweep import sweep_curves
    from side4video.reports.stored_sweep import find_run_or_sweep, is_sweep_run, read_sweep, stored_rows

    store = _store()
    run = find_run_or_sweep(store, name)
    if not is_sweep_run(run):
        _deliver(run_curves_figure(store, run), out, as_json=as_json, runs=[run])
        return
    sweep, sweep_logger = read_sweep(store, run.run_id)
    rows, _ = stored_rows(sweep, sweep_logger)
    drawn = sweep_curves(sweep_logger, rows, metric=sweep.spec.metric, mode=sweep.spec.mode, name=sweep.spec.name)
    _deliver(drawn, out, as_json=as_json)


@figure.command(
    short_help="The confusion matrix of a run.", epilog=example("figure confusion quickstart --out confusion")
)
@click.argument("run")
@_out
@as_json
def confusion(run: str, out: Path, as_json: bool) -> None:
    """Draw the confusion matrix of RUN on its test split. With many classes, also list the most confused pairs."""
    from side4video.reports.figures.confusion import confusion_figure, confusion_of
    from side4video.reports.figures.predictions import read_predictions

    store = _store()
    own = store.find(run)
    predictions = read_predictions(store, own)
    drawn = confusion_figure(confusion_of(predictions), run=_called(own))
    _deliver(drawn, out, as_json=as_json, runs=[own], videos=len(predictions.videos))


@figure.command(
    short_help="How far scores can be trusted: a reliability diagram.",
    epilog=example("figure calibration quickstart --out calibration"),
)
@click.argument("run")
@_out
@as_json
def calibration(run: str, out: Path, as_json: bool) -> None:
    """Draw the share of right videos of RUN by the confidence of the answer, on its test split.

    With a validation split, a second diagram shows the scores scaled by the temperature that was fitted there.
    """
    from side4video.reports.figures.calibration import calibration_figure, read_calibration

    store = _store()
    own = store.find(run)
    found = read_calibration(store, own)
    drawn = calibration_figure(found, run=_called(own))
    _deliver(drawn, out, as_json=as_json, runs=[own], videos=len(found.labels_N))


@figure.command(
    "step-time",
    short_help="Time and memory of a training step, by parts.",
    epilog=example("figure step-time quickstart ssv2/vitb16 --out step-time"),
)
@click.argument("names", nargs=-1, required=True, metavar="RUN|SPEC...")
@_out
@as_json
def step_time(names: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Draw where the time of a training step goes: data, frozen backbone, students, optimizer.

    For a RUN it shows the recorded times. For a SPEC (a YAML file, or the name of a preset of which there is no run) it
    shows the multiply-adds of a step, because the time depends on the machine. Below, it shows the planned peak memory
    by parts beside the measured peak.
    """
    from side4video.reports.figures.step_time import step_time_figure
    from side4video.terminal.run_or_spec import find_run

    store = _store()
    found = {name: find_run(store, name) for name in names}
    drawn = step_time_figure([_budget(store, name, run) for name, run in found.items()])
    runs = [run for run in found.values() if run is not None]
    files = [f"Source: {name}." for name, run in found.items() if run is None]
    _deliver(drawn, out, as_json=as_json, runs=runs, files=files)


def _budget(store: "RunStore", name: str, run: "StoredRun | None") -> "StepBudget":
    from side4video.reports.figures.step_time import estimated_budget, read_budget

    if run is not None:
        return read_budget(store, run)
    from side4video.cli.plan import count_classes
    from side4video.planning.plan import plan_experiment
    from side4video.spec.load import load_experiment

    spec = load_experiment(name)
    clips = spec.clips_per_part * spec.optimization.accumulation
    plan = plan_experiment(spec, classes=count_classes(spec))
    return estimated_budget(plan, clips=clips, is_cached=spec.features.kind == "cached")


def _store() -> "RunStore":
    from side4video.tracking.stores import store_at

    return store_at().prepare()


def _of_arms(name: str, draw: Any) -> "ReportFigure":
    """A figure of a sweep's arms."""
    from side4video.reports.figures.sweep import sweep_source
    from side4video.reports.stored_sweep import read_sweep, stored_rows

    sweep, sweep_logger = read_sweep(_store(), name)
    rows, _ = stored_rows(sweep, sweep_logger)
    drawn = draw(rows, metric=sweep.spec.metric, mode=sweep.spec.mode)
    return replace(drawn, source=sweep_source(sweep_logger, sweep.spec.name))


def _all_runs(store: "RunStore", name: str) -> "list[StoredRun]":
    """The arms of a sweep, the run of an id, or all runs of a name."""
    from side4video.reports.stored_sweep import find_run_or_sweep, is_sweep_run, read_sweep

    found = find_run_or_sweep(store, name)
    if is_sweep_run(found):
        return list(read_sweep(store, found.run_id)[1].children().values())
    if found.name != name:
        return [found]
    return store.runs(name=name, all_experiments=True)


def _title(runs: "Sequence[StoredRun]") -> str:
    """The main metric of these runs."""
    from side4video.tasks.metrics import MAIN_METRIC

    kinds = [run.params.get("task.kind", "recognition") for run in runs]
    return MAIN_METRIC[next((kind for kind in kinds if kind in MAIN_METRIC and kind != "recognition"), "recognition")]


def _called(run: "StoredRun") -> str:
    return f"{run.name} ({run.run_id[:8]})"


def _deliver(
    report_figure: "ReportFigure",
    out: Path,
    *,
    as_json: bool,
    runs: "Sequence[StoredRun]" = (),
    videos: int = 0,
    files: Sequence[str] = (),
) -> None:
    """Write the figure; print the caption, its source (`runs` and `files`) and the paths."""
    from side4video.reports.figures.figure import write_figure
    from side4video.reports.figures.source import source_of
    from side4video.terminal.options import table_console

    source = " ".join(filter(None, (source_of(runs, videos=videos), *files)))
    report_figure = replace(report_figure, source=report_figure.source or source)
    try:
        paths = write_figure(out, report_figure)
    except OSError as error:
        raise InputError("--out", f"{error.filename}: {error.strerror}", allowed="a folder to write into") from error
    if as_json:
        document = {
            "figure": report_figure.name,
            "heading": report_figure.heading,
            "caption": report_figure.text,
            "numbers": report_figure.numbers,
            "files": [str(path) for path in paths],
        }
        print_json(document)
        return
    console = table_console()
    console.print(report_figure.heading, style="bold", highlight=False, markup=False)
    console.print(report_figure.text, highlight=False, markup=False)
    for path in paths:
        console.print(f"written: {path}", highlight=False, soft_wrap=True, markup=False)
