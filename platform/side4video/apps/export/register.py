"""`side4video register`: a finished run as a model in MLflow's registry, loaded anywhere with `mlflow.pyfunc`."""

import json
import re
import tempfile
from pathlib import Path

import click

from side4video.core.units import format_bytes
from side4video.terminal.options import as_json, stored_weights

USAGE = """import mlflow
import pandas

model = mlflow.pyfunc.load_model("models:/{name}/latest")
print(model.predict(pandas.DataFrame({{"video": ["a.mp4"]}}), params={{"top_k": 3}}))"""
"""How a registered model is asked, in Python."""


@click.command()
@click.argument("run")
@click.option("--name", default="", help="Its name in the registry; by default the experiment's.")
@click.option("--uri", default="", help="The store the run is in; by default MLFLOW_TRACKING_URI, or the local one.")
@stored_weights
@click.option(
    "--with-backbone/--without-backbone",
    default=True,
    show_default=True,
    help="The frozen tower's weights with it; without them they are read from where the spec says.",
)
@as_json
def register(run: str, name: str, uri: str, weights: str, with_backbone: bool, as_json: bool) -> None:
    """Log RUN (its id, the beginning of it, or its name) as a model and make it a version in the registry.

    What is logged is the folder that `side4video export` writes, this package's source and the exact versions of what
    it needs: `mlflow.pyfunc.load_model` loads it where side4video is not installed, and `predict` takes a table with a
    column `video`.
    """
    import side4video
    from side4video.apps.export import table
    from side4video.apps.export.bundled_run import bundle_run
    from side4video.apps.export.card import model_page
    from side4video.tracking.mlflow.registry import LoggedModel, check_model_name, register_model
    from side4video.tracking.mlflow.store import MLflowStore

    store = MLflowStore(uri).prepare()
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        folder = Path(scratch) / "bundle"
        if name:
            check_model_name(name)
        found, bundle = bundle_run(store, run, folder, weights=weights, with_backbone=with_backbone)
        chosen = name or check_model_name(re.sub(r"[^A-Za-z0-9_-]+", "-", found.spec.name).strip("-"))
        top1 = bundle.figures.get("best/top1" if weights == "best" else "eval/top1")
        model = LoggedModel(
            name=chosen,
            bundle=folder,
            loader=table.__name__,
            package=Path(side4video.__file__).parent,
            columns=table.COLUMNS,
            lists=table.LISTS,
            top=table.TOP,
            tags={
                "run_id": found.run_id,
                "backbone_sha256": bundle.backbone_sha256,
                "dataset_fingerprint": bundle.origin.get("data fingerprint", ""),
                "weights": weights,
                "top1": "" if top1 is None else f"{top1:.6g}",
            },
            description=model_page(bundle, found.spec, usage=USAGE.format(name=chosen)),
        )
        size = sum(path.stat().st_size for path in folder.iterdir())
        made = register_model(store.uri, store.get(found.run_id), model)
    if as_json:
        document = {"name": made.name, "version": made.version, "model_id": made.model_id, "uri": made.uri}
        click.echo(json.dumps({**document, "run_id": found.run_id, "bundle_bytes": size}, indent=2))
        return
    click.echo(f"{made.uri}: {found.name} ({found.run_id[:8]}), {len(bundle.classes)} classes, {format_bytes(size)}")
    click.echo(f'load it: mlflow.pyfunc.load_model("{made.uri}").predict(table with a column `video`)')
