"""`side4video evaluate`: evaluate finished runs again, for example with other views or on other data."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.counts import counted
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.terminal.options import (
    as_json,
    example,
    made_folder,
    once,
    output_file,
    overrides,
    store_uri,
    stored_weights,
)

if TYPE_CHECKING:
    from side4video.apps.evaluate.models import EvaluatedModel
    from side4video.data.clip import Split
    from side4video.spec.experiment import Experiment
    from side4video.terminal.tables import FittedTable


@click.command(
    short_help="Evaluate trained runs on their test split.",
    epilog=example("evaluate quickstart --set data.views.clips=3"),
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--data",
    default="",
    metavar="SPEC",
    help="Of folders: the experiment file or preset whose data section is taken, with the frames of the model.",
)
@click.option(
    "--on",
    multiple=True,
    callback=once,
    metavar="SPEC",
    help="Evaluate on the data of this experiment file or preset, with the frames of the model. A classifier that is "
    "made of texts gets the class names of these data. The metrics are stored in the run as on/NAME/...",
)
@click.option(
    "--as",
    "name",
    multiple=True,
    callback=once,
    metavar="NAME",
    help="With runs: store the metrics as on/NAME/... By default the name of the experiment of --on, or that of the "
    "classes; of both, with a dash between, if --set chose the classes. Parts of one figure have names with a slash: "
    "hmdb51/1, hmdb51/2.",
)
@click.option(
    "--trained-share",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="Evaluate a mixture of weights: this share of the trained ones, the rest those before training.",
)
@overrides
@as_json
@store_uri
@stored_weights
@click.option(
    "--split",
    type=click.Choice(["test", "val"]),
    default="test",
    show_default=True,
    help="Clips to evaluate on. `val`: the validation split.",
)
@click.option(
    "--predictions",
    type=click.Path(),
    default=None,
    help="Write the predictions to this CSV file: a row per video with its path and the scores of all classes. Those "
    "of single views go to NAME-views.csv. With several runs, this is a folder.",
)
def evaluate(
    runs: tuple[str, ...],
    data: str,
    on: str | None,
    name: str | None,
    trained_share: float,
    overrides: tuple[str, ...],
    as_json: bool,
    uri: str,
    weights: str,
    split: "Split",
    predictions: str | None,
) -> None:
    """Evaluate each RUN on its test split or its validation split, in this process.

    RUN is an id, the start of an id, or a name; or a folder that `side4video export` or `side4video import` wrote. A
    sweep stands for all its finished arms. Several runs must have the same data. Each video is then decoded once for
    all runs, and passed once through each backbone. Change the evaluation with --set.
    """
    from side4video.apps.evaluate.evaluation import evaluate_models
    from side4video.apps.evaluate.models import EvaluationRequest, read_model
    from side4video.apps.evaluate.record_names import RecordNaming
    from side4video.runs.stored_run import expand_sweeps
    from side4video.spec.other_data import other_experiment
    from side4video.terminal.progress import ProgressView
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    with temporary_folder() as scratch, ProgressView("evaluate") as view:
        view.report("reading the runs")
        names = expand_sweeps(store, runs)
        if predictions:
            _check_place(Path(predictions), is_folder=len(names) > 1)
        if not 0 <= trained_share <= 1:  # NaN passes click's range
            raise InputError("--trained-share", f"{trained_share:g}", allowed="0 to 1", fix="--trained-share 0.5")
        request = EvaluationRequest(_one_source(data, on), overrides, weights, trained_share, split)
        _check_data_option(data, names)
        naming = RecordNaming(name or "", other_experiment(on) if on else None)
        chosen = [read_model(store, run, scratch / str(number), request) for number, run in enumerate(names)]
        _check_options(chosen, name)
        found = evaluate_models(chosen, split=split, naming=naming, progress=view)
    notes = [*found.notes, *_store(store, chosen, found.answers)]
    if predictions:
        _write_predictions(Path(predictions), chosen, found.results, split)
    if as_json:
        click.echo(json.dumps(found.answers[0] if len(found.answers) == 1 else found.answers, indent=2))
    else:
        _print(chosen, found.answers, notes, split)


def _store(store: Any, chosen: "list[EvaluatedModel]", answers: list[dict[str, Any]]) -> list[str]:
    """Store answers in their runs; what they take the place of, in a sentence."""
    from side4video.apps.evaluate.record import store_answer

    for each, answered in zip(chosen, answers, strict=True):
        is_kept = each.is_stored and answered["recorded_as"]
        answered["replaced"] = store_answer(store, each, answered, each.spec.resolved()["data"]) if is_kept else ""
    replaced = [answered["replaced"] for answered in answers if answered["replaced"]]
    more = f" The same in {len(replaced) - 1} more of the runs." if len(replaced) > 1 else ""
    return [f"{first}{more}" for first in replaced[:1]]


def _one_source(data: str, on: str | None) -> str:
    if data and on:
        raise InputError("--data, --on", "both given", allowed="one of them", fix="leave --data out")
    return data or on or ""


def _check_data_option(data: str, names: Sequence[str]) -> None:
    """Check that `--data` is for folders.

    Raises:
        InputError: A run is named beside it.
    """
    from side4video.spec.bundle import is_folder_name

    for name in names if data else ():
        if not (Path(name).is_dir() and is_folder_name(name)):
            raise InputError("--data", f"given, and {name} is a run", allowed="with folders", fix="--on SPEC")


def _check_options(chosen: "list[EvaluatedModel]", name: str | None) -> None:
    """Check that options are for what was named.

    Raises:
        InputError: `--as` is for runs.
    """
    for each in chosen:
        if name is not None and not each.is_stored:
            found = f"given, and {each.name} is a folder, which keeps no metrics"
            raise InputError("--as", found, allowed="with runs", fix="leave it out, or --json > FILE")
    if name is not None:
        from side4video.apps.evaluate.record_names import check_record_name

        check_record_name(name)


def _check_place(path: Path, *, is_folder: bool) -> None:
    """Check before the work that the predictions can be written."""
    if is_folder:
        made_folder(path)
    else:
        output_file(path, "--predictions")


def _write_predictions(path: Path, chosen: "list[EvaluatedModel]", results: Mapping[str, Any], split: "Split") -> None:
    for each in chosen:
        file = path
        if len(chosen) > 1:
            path.mkdir(parents=True, exist_ok=True)
            file = path / f"{each.run_id}.csv"
        result = results[each.run_id]
        result.write_predictions(file, [clip.path for clip in each.spec.data.listed.clips(split)])
        if result.per_view:
            result.write_views(file.with_name(f"{file.stem}-views.csv"))


def _print(chosen: "list[EvaluatedModel]", answers: list[dict[str, Any]], notes: list[str], split: "Split") -> None:
    from side4video.spec.chance import always_reached, chance_text, metric_name
    from side4video.terminal.console import PlainConsole
    from side4video.terminal.tables import fitted

    console = PlainConsole()
    first = answers[0]
    alone, title = len(chosen) == 1, "validation" if split == "val" else "test"
    names = f"{chosen[0].name} · weights of {chosen[0].epoch}" if alone else f"{len(chosen)} runs on one pass"
    seen = f"{counted(first['videos'], 'video')} x {counted(first['views'], 'view')}"
    console.print(f"{names} · {title} split: {seen}", highlight=False)
    keys = dict.fromkeys(key for answer in answers for key in answer["metrics"])
    left_out = always_reached(chosen[0].spec, split)
    merged = [key for key in keys if "/view_" not in key and metric_name(key) not in left_out]
    if len(chosen) == 1:
        values = [f"{first['metrics'][key]:.4f}" for key in merged]
        names = [f"{key}{_smoothing(chosen[0].spec) if key.endswith('/loss') else ''}" for key in merged]
        table = fitted({"metric": names, "value": values}, texts=("metric",))
    else:
        columns = {"run": [each.name for each in chosen], "id": [each.run_id[:8] for each in chosen]}
        columns["weights"] = [each.epoch for each in chosen]
        for key in merged:
            values = (answer["metrics"].get(key) for answer in answers)
            columns[key] = ["" if value is None else f"{value:.4f}" for value in values]
        table = fitted(columns, texts=("run", "id", "weights"), keys=2)
    console.print(table)
    if first["per_view"]:
        console.print()
        console.print(_view_table(chosen, answers, left_out))
    for note in [*notes, chance_text(chosen[0].spec)]:
        if note:
            console.print(note, highlight=False)


def _smoothing(spec: "Experiment") -> str:
    """What the loss has beside cross-entropy."""
    smoothing = spec.task.label_smoothing if spec.task.kind == "recognition" else 0.0
    return f" (label smoothing {smoothing:g})" if smoothing else ""


def _view_table(
    chosen: "list[EvaluatedModel]", answers: list[dict[str, Any]], left_out: Collection[str]
) -> "FittedTable":
    """One row per view: top-1 and top-5 of a single run, or the top-1 of each of several runs."""
    from side4video.terminal.tables import fitted

    has_top5 = len(chosen) == 1 and "top5" not in left_out
    runs = [each.run_id[:8] for each in chosen] if len(chosen) > 1 else ["top-1", *(["top-5"] if has_top5 else [])]
    views = answers[0]["per_view"]
    values = [[view["top1"] for view in answer["per_view"]] for answer in answers]
    values += [[view["top5"] for view in views]] if has_top5 else []
    columns = {name: [str(view[name]) for view in views] for name in ("clip", "crop")}
    columns |= {name: [f"{value:.4f}" for value in each] for name, each in zip(runs, values, strict=True)}
    return fitted(columns, keys=2)
