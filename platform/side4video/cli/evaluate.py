"""`side4video evaluate`: evaluate finished runs again, for example with other views or another precision."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.data.clip import Split
from side4video.runs.stored_run import fetch_weights, find_finished
from side4video.spec.bundle import check_run_exists, is_folder_name
from side4video.spec.chance import always_reached, chance_text, metric_name
from side4video.spec.check import check_consistency
from side4video.spec.experiment import Experiment
from side4video.spec.load import SpecError
from side4video.spec.protocol import ComparedResult, comparison_errors, find_differences
from side4video.terminal.options import as_json, example, made_folder, output_file, overrides, store_uri, stored_weights
from side4video.terminal.output import PlainConsole
from side4video.terminal.progress import ProgressView
from side4video.terminal.tables import FittedTable, fitted
from side4video.tracking.run_inputs import changed_weights
from side4video.tracking.tags import FINGERPRINT_TAG

if TYPE_CHECKING:
    from side4video.models.towers.load import TowerWeights


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
    overrides: tuple[str, ...],
    as_json: bool,
    uri: str,
    weights: str,
    split: Split,
    predictions: str | None,
) -> None:
    """Evaluate each RUN on its test split or its validation split, in this process.

    RUN is an id, the start of an id, or a name; or a folder that `side4video export` or `side4video import` wrote.
    Several runs must have the same data. Each video is then decoded once for all runs, and passed once through each
    backbone. Change the evaluation with --set.
    """
    import torch

    if predictions:
        _check_place(Path(predictions), is_folder=len(runs) > 1)
    from side4video.engine.process_group import ProcessGroup
    from side4video.run import evaluate_students
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    with temporary_folder() as scratch, ProgressView("evaluate") as view:
        view.report("reading the runs")
        chosen = [_choose(store, run, scratch / str(n), overrides, (weights, data)) for n, run in enumerate(runs)]
        check_consistency({f"run {each.run_id[:8]}": each.spec for each in chosen}, ("data", "evaluation"))
        _check_towers(chosen)
        notes = _check_comparable(chosen)
        base = chosen[0].spec
        base.data.dataset.prepare()
        if split not in base.data.dataset.splits():
            raise InputError("--split", f"{split}, and the data set has none", allowed="test", fix="leave it out")
        fingerprint = base.data.dataset.fingerprint()
        notes += [note for each in chosen if (note := each.changed_weights)]
        notes += [_other_data(each, fingerprint) for each in chosen if each.fingerprint not in ("", fingerprint)]
        view.report("loading the models")
        device = "cuda" if base.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"
        results, broken = evaluate_students(
            {each.run_id: each.spec for each in chosen},
            {each.run_id: each.weights for each in chosen},
            ProcessGroup(device=torch.device(device)),
            split=split,
            progress=view,
            backbones={each.run_id: each.backbone for each in chosen if each.backbone is not None},
        )
    answers = [_answer(each, results[each.run_id], broken, fingerprint, split) for each in chosen]
    if predictions:
        _write_predictions(Path(predictions), chosen, results, split)
    if as_json:
        click.echo(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2))
    else:
        _print(chosen, answers, notes, split)


@dataclass(frozen=True)
class _Chosen:
    """A run to evaluate."""

    run_id: str
    name: str
    spec: Experiment
    weights: Path
    epoch: str = ""
    """The epoch of the weights in words."""
    fingerprint: str = ""
    """Of the data set that the run was trained and evaluated on."""
    changed_weights: str = ""
    """What is to be said if the backbone's weights are not those of the run."""
    backbone: "TowerWeights | None" = None
    """The tower's weights, of a folder."""


def _choose(store: Any, run: str, folder: Path, overrides: tuple[str, ...], options: tuple[str, str]) -> _Chosen:
    weights, data = options
    if Path(run).is_dir() and is_folder_name(run):
        return _choose_folder(Path(run), folder, overrides, data)
    if data:
        raise InputError("--data", f"given, and {run} is a run", allowed="with folders", fix="--set data.dataset=...")
    check_run_exists(store, run)
    found = find_finished(store, run, folder, overrides)
    record = store.get(found.source)
    fingerprint, changed = record.tags.get(FINGERPRINT_TAG, ""), changed_weights(record, found.spec)
    if changed:
        changed = f"{found.name} ({found.run_id[:8]}): {changed}. Do not compare the values with its record."
    file = fetch_weights(store, found, folder, weights)
    return _Chosen(found.run_id, found.name, found.spec, file, found.describe(weights), fingerprint, changed)


def _choose_folder(folder: Path, scratch: Path, overrides: tuple[str, ...], data: str) -> _Chosen:
    from side4video.inference.bundled_weights import epoch_of
    from side4video.inference.evaluated_folder import evaluated_folder

    found = evaluated_folder(folder, scratch, data=data, overrides=overrides)
    bundle = found.bundle
    epoch = "an imported file" if "format" in bundle.origin else epoch_of(bundle)
    fingerprint = "" if data else bundle.origin.get("data fingerprint", "")
    return _Chosen(found.identity, bundle.name, found.spec, found.weights, epoch, fingerprint, backbone=found.backbone)


def _other_data(chosen: _Chosen, fingerprint: str) -> str:
    return (
        f"These are not the run's data: the data set of {chosen.name} ({chosen.run_id[:8]}) had the fingerprint "
        f"{chosen.fingerprint[:12]}, and this one has {fingerprint[:12]}. Do not compare the values with its record."
    )


def _check_place(path: Path, *, is_folder: bool) -> None:
    """Check before the work that the predictions can be written."""
    if is_folder:
        made_folder(path)
    else:
        output_file(path, "--predictions")


def _check_towers(chosen: list[_Chosen]) -> None:
    """Check that folders whose documents name one tower hold one.

    Raises:
        InputError: They hold several, as when folders were made at one place and moved.
    """
    fingerprints: dict[str, str] = {}
    for each in chosen:
        if each.backbone is None:
            continue
        known = fingerprints.setdefault(each.spec.backbone_key, each.backbone.fingerprint)
        if known != each.backbone.fingerprint:
            found = f"its document names the tower of another folder, and the fingerprint is {known[:16]}… there"
            raise InputError(f"{each.name}: backbone", found, allowed="one tower", fix="evaluate them one by one")


def _check_comparable(chosen: list[_Chosen]) -> list[str]:
    """Check that runs are comparable; return notes for their table.

    Raises:
        InputError: They are not comparable, for example because their tasks differ.
    """
    compared = [ComparedResult(f"{each.name} ({each.run_id[:8]})", dotted(each.spec.resolved())) for each in chosen]
    found = find_differences(compared)
    problems = comparison_errors(found, where="runs", anyway=(), fix=lambda _: "evaluate them one by one")
    if problems:
        raise SpecError(problems)
    of_loss = find_differences(compared, metrics=["eval/loss"])
    return [f"eval/loss is not the same loss: {each.field} is {each}." for each in of_loss if each.is_hidden]


def _answer(
    chosen: _Chosen, result: Any, broken: list[dict[str, Any]], fingerprint: str, split: Split
) -> dict[str, Any]:
    area = "eval" if split == "test" else split
    metrics = {f"{area}/{key}": value for key, value in result.metrics.items()} | {f"{area}/loss": result.loss}
    return {
        "run_id": chosen.run_id,
        "weights": chosen.epoch,
        "split": split,
        "metrics": metrics | {f"{area}/{view.name}/top1": view.top1 for view in result.per_view},
        "class_accuracy": result.class_metrics,
        "views": result.views,
        "per_view": [asdict(view) for view in result.per_view],
        "videos": result.videos,
        "dataset_fingerprint": fingerprint,
        "dataset_fingerprint_of_run": chosen.fingerprint,
        "broken_clips": broken,
        "memory": {},
        "time": {},
    }


def _write_predictions(path: Path, chosen: list[_Chosen], results: dict[str, Any], split: Split) -> None:
    for each in chosen:
        file = path
        if len(chosen) > 1:
            path.mkdir(parents=True, exist_ok=True)
            file = path / f"{each.run_id}.csv"
        result = results[each.run_id]
        result.write_predictions(file, [clip.path for clip in each.spec.data.dataset.clips(split)])
        if result.per_view:
            result.write_views(file.with_name(f"{file.stem}-views.csv"))


def _print(chosen: list[_Chosen], answers: list[dict[str, Any]], notes: list[str], split: Split) -> None:
    console = PlainConsole()
    first = answers[0]
    alone, title = len(chosen) == 1, "validation" if split == "val" else "test"
    names = f"{chosen[0].name} · weights of {chosen[0].epoch}" if alone else f"{len(chosen)} runs on one pass"
    console.print(f"{names} · {title} split: {first['videos']} videos x {first['views']} views", highlight=False)
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


def _smoothing(spec: Experiment) -> str:
    """What the loss has beside cross-entropy."""
    smoothing = spec.task.label_smoothing if spec.task.kind == "recognition" else 0.0
    return f" (label smoothing {smoothing:g})" if smoothing else ""


def _view_table(chosen: list[_Chosen], answers: list[dict[str, Any]], left_out: Collection[str]) -> FittedTable:
    """One row per view: top-1 and top-5 of a single run, or the top-1 of each of several runs."""
    has_top5 = len(chosen) == 1 and "top5" not in left_out
    runs = [each.run_id[:8] for each in chosen] if len(chosen) > 1 else ["top-1", *(["top-5"] if has_top5 else [])]
    views = answers[0]["per_view"]
    values = [[view["top1"] for view in answer["per_view"]] for answer in answers]
    values += [[view["top5"] for view in views]] if has_top5 else []
    columns = {name: [str(view[name]) for view in views] for name in ("clip", "crop")}
    columns |= {name: [f"{value:.4f}" for value in each] for name, each in zip(runs, values, strict=True)}
    return fitted(columns, keys=2)
