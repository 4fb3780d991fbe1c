"""`side4video run`: train and evaluate one experiment."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.core import signals
from side4video.core.errors import InputError
from side4video.core.units import GIB, format_bytes, format_duration
from side4video.terminal.options import as_json, check_place, example, overrides, ray_address, spec_file, table_console
from side4video.terminal.output import print_text
from side4video.terminal.plugin_option import plugin_words
from side4video.terminal.usual_fields import usual_fields

if TYPE_CHECKING:
    from side4video.runs.run_result import RunResult
    from side4video.spec.experiment import Experiment
    from side4video.terminal.tables import FittedTable


@click.command(
    short_help="Train and evaluate an experiment.",
    epilog=example("run quickstart --epochs 5 --lr 5e-4"),
)
@spec_file
@usual_fields
@overrides
@as_json
@click.option("--local", is_flag=True, help="Train in this process, without Ray, with one worker.")
@ray_address
@click.option("--resume", is_flag=True, help="Continue the newest unfinished run of exactly this spec.")
@click.option(
    "--go-on",
    is_flag=True,
    help="Continue the unfinished run, or show the result if the experiment is finished, else start a run.",
)
@click.option(
    "--smoke",
    is_flag=True,
    help="Only try it: three steps, a checkpoint, its resumption and one evaluation batch, in this process. Nothing is "
    "recorded.",
)
def run(
    spec: str,
    overrides: tuple[str, ...],
    as_json: bool,
    local: bool,
    address: str,
    resume: bool,
    go_on: bool,
    smoke: bool,
) -> None:
    """Train and evaluate the experiment SPEC on Ray, and record it in MLflow.

    SPEC is a YAML file or the name of a preset. On SIGTERM the run finishes the step, saves a checkpoint and exits with
    code 143. Continue with --resume. Use --go-on in scripts that may call the same command several times.
    """
    from side4video.distributed.trainer import RayTrainer
    from side4video.runs.launch import launch
    from side4video.runs.trainer import LocalTrainer
    from side4video.spec.load import load_experiment
    from side4video.terminal.progress import ProgressView

    experiment = load_experiment(spec, overrides)
    check_place(local=local, address=address)
    if resume and go_on:
        fix = "leave out --resume: --go-on continues an unfinished run too"
        raise InputError("--resume", "beside --go-on", allowed="one of them", fix=fix)
    if smoke and (resume or go_on):
        fix = "remove one of them: a smoke test records nothing, and continues nothing"
        raise InputError("--smoke", "beside --resume or --go-on", allowed="one of them", fix=fix)
    with signals.handling_signals():
        if smoke:
            _smoke_test(experiment, as_json=as_json)
            return
        with ProgressView(experiment.name) as view:
            trainer = LocalTrainer() if local else RayTrainer(address, experiment.cluster)
            runs = launch({experiment.name: experiment}, progress=view, trainer=trainer, resume=resume, go_on=go_on)
            signals.set_busy(True)  # the run is stored: what is left is shown to its end
            finished = runs[experiment.name]
            view.report("writing the page")
            page = _save_page(finished, experiment)
        _show(finished, experiment, page, as_json=as_json)


def _show(finished: "RunResult", experiment: "Experiment", page: Path | None, *, as_json: bool) -> None:
    """The results, and what one does with the run."""
    from side4video.spec.chance import always_reached, chance_text

    if as_json:
        click.echo(json.dumps(finished.as_json(), indent=2))
        return
    table_console().print(results_table([finished], always_reached(experiment)))
    for line in (*_epochs(finished, experiment), chance_text(experiment)):
        if line:
            print_text(line)
    click.echo(f"\nRun {finished.run_id}. Next:")
    commands = _next_commands(finished.run_id[:8], experiment)
    width = max(map(len, commands))
    for command, use in commands.items():
        print_text(f"  {command:<{width}}  {use}")
    if page:
        print_text(f"Its page, for a browser: {page}")
    _print_broken(finished)


def _next_commands(run: str, experiment: "Experiment") -> dict[str, str]:
    """What one does with a run, and the command; it allows the plug-ins that this command allowed."""
    plugins = plugin_words()
    uses = {f"predict {run} VIDEO": "use it on a video"}
    if experiment.task.kind == "retrieval":
        uses = {f"search {run} TEXT FOLDER": "find videos of a folder by a text"}
    uses |= {f"evaluate {run}": "evaluate it again, also with other views"}
    return {f"side4video {command}{plugins}": use for command, use in uses.items()} | {
        "side4video ui": "see and compare runs"
    }


def _save_page(finished: "RunResult", experiment: "Experiment") -> Path | None:
    from side4video.reports.run_page import save_run_page
    from side4video.tracking.stores import open_store

    return save_run_page(open_store(experiment.tracking).prepare(), finished.run_id, experiment)


def _smoke_test(experiment: "Experiment", *, as_json: bool) -> None:
    from side4video.runs.smoke_test import smoke_test
    from side4video.terminal.progress import ProgressView

    with ProgressView(experiment.name) as view:
        found = smoke_test(experiment, view)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    evaluated = " and ".join(f"{count} {split} videos" for split, count in found.evaluated.items())
    print_text(f"Smoke test passed in {format_duration(found.seconds)}. Nothing was recorded.")
    print_text(f"  data        {found.looked_at}")
    print_text(f"  machine     {found.device}")
    print_text(
        f"  steps       {found.clips} clips each; the last one took {found.step_seconds:.2f} s, of which "
        f"{found.wait_seconds:.2f} s waiting for clips; evaluated {evaluated}"
    )
    held, peak, planned = (format_bytes(GIB * each) for each in (found.held_gib, found.peak_gib, found.planned_gib))
    measured = f", peak {peak}" if found.peak_gib else ""
    print_text(f"  memory      held for backward {held}{measured}, planned peak {planned}")
    print_text(f"  checkpoint  {format_bytes(found.checkpoint_bytes)}, written and resumed")
    print_text(
        f"  the run     {found.steps:,} steps, about {format_duration(found.training_seconds)} without evaluations; "
        "a rough estimate, because first steps are slow"
    )


def _epochs(finished: "RunResult", experiment: "Experiment") -> list[str]:
    """Which epoch the values are of, and which one `evaluate` and `predict` use."""
    from side4video.tracking.chosen_weights import choose_weights, describe_weights, epoch_of, tested_weights

    metrics, main = finished.metrics, experiment.task.metrics[0]
    if "eval/epoch" not in metrics:
        return []
    tested, chosen = tested_weights(metrics), choose_weights(experiment.evaluation.choose_epoch, metrics)
    lines = [f"Values on the test split of {describe_weights(metrics, tested)}."]
    if epoch_of(metrics, tested) != epoch_of(metrics, chosen) and f"best/{main.name}" in metrics:
        value = main.text(metrics[f"best/{main.name}"])
        lines.append(
            f"`predict`, `evaluate` and `export` use the weights of {describe_weights(metrics, chosen)} ({main.title} "
            f"{value}): the document says evaluation.choose_epoch: {experiment.evaluation.choose_epoch}."
        )
    return lines


def results_table(runs: "list[RunResult]", left_out: Collection[str] = ()) -> "FittedTable":
    """One row per run: accuracy or recall, parameters, memory, time; without the metrics of the names `left_out`."""
    from side4video.spec.chance import metric_name
    from side4video.tasks.metrics import summary
    from side4video.terminal.tables import fitted

    measured = {key: value for each in runs for key, value in each.metrics.items() if metric_name(key) not in left_out}
    columns = {
        "run": [each.name for each in runs],
        **{
            metric.heading or metric.title: [metric.text(each.metrics.get(key, math.nan)) for each in runs]
            for key, metric in summary(measured).items()
        },
        "trained": [f"{each.trainable_parameters:,}" for each in runs],
        "held": [format_bytes(GIB * each.memory["held_for_backward_gib"]) for each in runs],
        "clips/s": [_rate(each.time["clips_per_s"]) for each in runs],
        "time": [format_duration(each.wall_s) for each in runs],
        "run id": [each.run_id[:8] for each in runs],
    }
    return fitted(columns, texts=("run",))


def _rate(clips_per_second: float) -> str:
    return f"{clips_per_second:.0f}" if clips_per_second >= 10 else f"{clips_per_second:.1f}"


def _print_broken(finished: "RunResult") -> None:
    for note in finished.notes:
        print_text(f"note: {note}", err=True)
    if finished.broken_clips:
        count = len(finished.broken_clips)
        print_text(f"{count} clips could not be read; they are listed in the run's broken_clips.json:", err=True)
        for row in finished.broken_clips[:5]:
            print_text(f"  {row['origin']}: {row['path']}: {row['reason']}", err=True)
