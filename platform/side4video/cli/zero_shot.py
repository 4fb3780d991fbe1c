"""`side4video zero-shot`: evaluate a run's frozen CLIP without training (as in the paper's Figure 5)."""

import json
from typing import TYPE_CHECKING

import click

from side4video.core.temporary import temporary_folder
from side4video.spec.zero_shot import PROMPT
from side4video.terminal.options import as_json, example, overrides, store_uri
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from side4video.spec.experiment import Experiment

KEPT = ("predictions.csv", "scores.npz", "class_accuracy.json")


@click.command(
    short_help="Evaluate a frozen CLIP on videos, without training.",
    epilog=example("zero-shot k400/vitb16-8f-zero-shot"),
)
@click.argument("run", metavar="RUN|SPEC")
@click.option(
    "--prompt",
    default=PROMPT,
    show_default=True,
    help="Text for each class; {} stands for the class name. The default is from Text4Vis, as in the paper's Figure 5.",
)
@overrides
@as_json
@store_uri
@click.option("--rerun", is_flag=True, help="Evaluate again, even if the store has this result.")
def zero_shot(run: str, prompt: str, overrides: tuple[str, ...], as_json: bool, uri: str, rerun: bool) -> None:
    """Evaluate the frozen CLIP of a RUN or a SPEC without training.

    RUN is an id, the start of an id, or a name. SPEC is a YAML file, or the name of a preset of which there is no run.
    The predicted class is the one whose prompt is most similar to the mean
    of the frames. It uses the test clips, frames and views of the run, so the results are comparable. The result is
    recorded as a run, with predictions and the accuracy of each class.
    """
    from side4video.runs.launch import launch
    from side4video.terminal.progress import ProgressView
    from side4video.tracking.finished_runs import finished_runs
    from side4video.tracking.stores import open_store

    experiment = _experiment(run, prompt, overrides, uri)
    if not rerun:
        experiment.data.listed.prepare()
        fingerprint = experiment.data.dataset.fingerprint()
        store = open_store(experiment.tracking).prepare()
        known = finished_runs(store, [experiment], fingerprint=fingerprint).get(experiment.digest())
        if known is not None:
            _print(known.run_id, known.name, known.metrics, experiment, as_json=as_json)
            if not as_json:
                print_text("From the store; --rerun evaluates again.")
            return
    with ProgressView(experiment.name) as view:
        finished = launch({experiment.name: experiment}, progress=view)[experiment.name]
    _print(finished.run_id, finished.name, finished.metrics, experiment, as_json=as_json)
    for row in finished.broken_clips:
        print_text(f"could not be read: {row['origin']}: {row['path']}: {row['reason']}", err=True)


def _experiment(run: str, prompt: str, overrides: tuple[str, ...], uri: str) -> "Experiment":
    from side4video.runs.stored_run import find_finished
    from side4video.spec.load import load_experiment
    from side4video.spec.zero_shot import zero_shot_experiment
    from side4video.terminal.run_or_spec import find_run, names_a_file
    from side4video.tracking.stores import store_at

    if names_a_file(run) or find_run(store_at(uri).prepare(), run) is None:
        return zero_shot_experiment(load_experiment(run, overrides), prompt=prompt, source=run)
    with temporary_folder() as scratch:
        found = find_finished(store_at(uri).prepare(), run, scratch, overrides)
    made = zero_shot_experiment(found.spec, prompt=prompt, source=found.where)
    # Beside the run, wherever the command found it.
    return made.model_copy(update={"tracking": made.tracking.model_copy(update={"uri": uri})})


def _print(run_id: str, name: str, metrics: "Mapping[str, float]", experiment: "Experiment", *, as_json: bool) -> None:
    from side4video.tasks.recognition.metrics import METRICS

    measured = {key: value for key, value in metrics.items() if key.startswith("eval/")}
    if as_json:
        click.echo(json.dumps({"run_id": run_id, "name": name, "metrics": measured}, indent=2))
        return
    from side4video.spec.chance import always_reached

    left_out = always_reached(experiment)
    shown = ", ".join(
        f"{metric.title} {metric.text(measured[f'eval/{metric.name}'])}"
        for metric in METRICS
        if f"eval/{metric.name}" in measured and metric.name not in left_out
    )
    print_text(f"{name}: {shown} of {int(measured['eval/videos'])} videos")
    print_text(f"Run {run_id}, with {', '.join(KEPT)}. See it: side4video ui")
