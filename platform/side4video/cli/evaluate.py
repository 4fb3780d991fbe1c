"""`side4video evaluate`: finished runs again, with other views or in another precision, in one pass of the backbone."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from side4video.cli.finished_run import fetch_weights, find_finished
from side4video.cli.options import as_json, overrides
from side4video.spec.check import check_agreement
from side4video.spec.experiment import Experiment


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@overrides
@as_json
@click.option("--uri", default="", help="The store the runs are in; by default MLFLOW_TRACKING_URI, or the local one.")
@click.option(
    "--weights", type=click.Choice(["best", "last"]), default="best", show_default=True, help="Which weights."
)
@click.option(
    "--predictions",
    type=click.Path(),
    default=None,
    help="Write one row a video here (CSV); of several runs, into this folder, a file each.",
)
def evaluate(
    runs: tuple[str, ...], overrides: tuple[str, ...], as_json: bool, uri: str, weights: str, predictions: str | None
) -> None:
    """Evaluate each RUN (its id, the beginning of it, or its name) on the test split, in this process.

    Several runs must agree on backbone and data: each video is then decoded, and seen by the backbone, once for all
    of them. Views are fields like any other: --set data.views.clips=4 --set data.views.crops=3
    """
    import torch

    from side4video.engine.processes import Process
    from side4video.run import evaluate_students
    from side4video.tracking.store import Store

    store = Store(uri).prepare()
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        chosen = [_choose(store, run, Path(scratch) / str(n), overrides, weights) for n, run in enumerate(runs)]
        check_agreement({f"run {each.run_id[:8]}": each.spec for each in chosen}, ("backbone", "data", "evaluation"))
        base = chosen[0].spec
        device = "cuda" if base.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"
        results, broken = evaluate_students(
            {each.run_id: each.spec for each in chosen},
            {each.run_id: each.weights for each in chosen},
            Process(device=torch.device(device)),
        )
    answers = [_answer(each, results[each.run_id], broken) for each in chosen]
    if predictions:
        _write_predictions(Path(predictions), chosen, results)
    if as_json:
        click.echo(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2))
    else:
        _print(chosen, answers, weights)


@dataclass(frozen=True)
class _Chosen:
    """A run that is to be evaluated."""

    run_id: str
    name: str
    spec: Experiment
    weights: Path


def _choose(store: Any, run: str, folder: Path, overrides: tuple[str, ...], weights: str) -> _Chosen:
    found = find_finished(store, run, folder, overrides)
    return _Chosen(found.run_id, found.name, found.spec, fetch_weights(store, found, folder, weights))


def _answer(chosen: _Chosen, result: Any, broken: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "run_id": chosen.run_id,
        "metrics": {f"eval/{key}": value for key, value in result.metrics.items()} | {"eval/loss": result.loss},
        "class_accuracy": result.class_metrics,
        "views": result.views,
        "videos": result.videos,
        "broken_clips": broken,
        "memory": {},
        "time": {},
    }


def _write_predictions(path: Path, chosen: list[_Chosen], results: dict[str, Any]) -> None:
    for each in chosen:
        if len(chosen) == 1:
            results[each.run_id].write_predictions(path)
            continue
        path.mkdir(parents=True, exist_ok=True)
        results[each.run_id].write_predictions(path / f"{each.run_id}.csv")


def _print(chosen: list[_Chosen], answers: list[dict[str, Any]], weights: str) -> None:
    console = Console()
    first = answers[0]
    names = f"{chosen[0].name} · " if len(chosen) == 1 else f"{len(chosen)} runs on one pass of the backbone · "
    console.print(f"{names}{weights} weights · {first['videos']} videos x {first['views']} views", highlight=False)
    if len(chosen) == 1:
        table = Table("metric", "value", box=None, header_style="bold", pad_edge=False)
        for key, value in first["metrics"].items():
            table.add_row(key, f"{value:.4f}")
    else:
        table = Table("run", "id", *first["metrics"], box=None, header_style="bold", pad_edge=False)
        for each, answer in zip(chosen, answers, strict=True):
            table.add_row(each.name, each.run_id[:8], *(f"{value:.4f}" for value in answer["metrics"].values()))
    console.print(table)
