"""`side4video evaluate`: a finished run again, with other views or in another precision."""

import json
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from side4video.cli.options import as_json, overrides
from side4video.core.errors import InputError
from side4video.spec.load import apply_override, parse_experiment


@click.command()
@click.argument("run")
@overrides
@as_json
@click.option("--uri", default="", help="The store the run is in; by default MLFLOW_TRACKING_URI, or the local one.")
@click.option(
    "--weights", type=click.Choice(["best", "last"]), default="best", show_default=True, help="Which weights."
)
@click.option("--predictions", type=click.Path(dir_okay=False), default=None, help="Write one row a video here (CSV).")
def evaluate(
    run: str, overrides: tuple[str, ...], as_json: bool, uri: str, weights: str, predictions: str | None
) -> None:
    """Evaluate RUN (its id, the beginning of it, or its name) on the test split, in this process.

    Views are fields like any other: --set data.views.clips=4 --set data.views.crops=3
    """
    import torch

    from side4video.engine.processes import Process
    from side4video.engine.recorder import write_predictions
    from side4video.run import evaluate_students
    from side4video.tracking.store import Store

    store = Store(uri).prepare()
    record = store.find(run)
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        document = json.loads(store.download(record.run_id, "spec.json", scratch).read_text(encoding="utf-8"))
        for override in overrides:
            apply_override(document, override)
        spec = parse_experiment(document, source=f"run {record.run_id[:8]}")
        folder = store.download(record.run_id, "checkpoint", scratch) / spec.name
        file = folder / ("best.safetensors" if weights == "best" else _last(folder))
        if not file.is_file():
            raise InputError(
                f"run {record.run_id[:8]}", f"has no {weights} weights", fix="take another run, or run it again"
            )
        device = "cuda" if spec.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"
        results, broken = evaluate_students(
            {spec.name: spec}, {spec.name: Path(file)}, Process(device=torch.device(device))
        )
        result = results[spec.name]
        if predictions:
            write_predictions(Path(predictions), result, spec.data.dataset.classes())
    metrics = {f"eval/{key}": value for key, value in result.metrics.items()} | {"eval/loss": result.loss}
    answer = {
        "run_id": record.run_id,
        "metrics": metrics,
        "class_accuracy": result.class_metrics,
        "views": result.views,
        "videos": len(result.indices_V),
        "broken_clips": broken,
        "memory": {},
        "time": {},
    }
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    table = Table("metric", "value", box=None, header_style="bold", pad_edge=False)
    for key, value in metrics.items():
        table.add_row(key, f"{value:.4f}")
    Console().print(
        f"{record.name} · {weights} weights · {len(result.indices_V)} videos x {result.views} views", highlight=False
    )
    Console().print(table)


def _last(folder: Path) -> str:
    return "last_average.safetensors" if (folder / "last_average.safetensors").is_file() else "weights.safetensors"
