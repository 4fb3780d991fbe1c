"""`side4video register`: a finished run as a model in MLflow's registry, loaded anywhere with `mlflow.pyfunc`."""

import json
import re
from pathlib import Path

import click

from side4video.core.temporary import temporary_folder
from side4video.core.units import format_bytes
from side4video.terminal.options import as_json, example, store_uri, stored_weights
from side4video.terminal.output import print_text

USAGE = """import mlflow
import pandas

model = mlflow.pyfunc.load_model("models:/{name}/latest")
print(model.predict(pandas.DataFrame({{"video": ["a.mp4"]}}), params={{"top_k": 3}}))"""
"""How a registered classifier is asked, in Python."""
SEARCH_USAGE = """import mlflow
import pandas

model = mlflow.pyfunc.load_model("models:/{name}/latest")
table = pandas.DataFrame({{"text": ["a dog catches a ball"], "folder": ["videos"]}})
print(model.predict(table, params={{"top_k": 3}}))"""
"""How a registered retrieval model is asked, in Python."""


@click.command(
    short_help="Add a trained model to the MLflow model registry.",
    epilog=example("register quickstart --name video-classifier"),
)
@click.argument("run")
@click.option("--name", default="", help="Name in the registry. Default: the experiment's name.")
@store_uri
@stored_weights
@click.option(
    "--with-backbone/--without-backbone",
    default=True,
    show_default=True,
    help="Include the frozen tower's weights. Without them, they are read from the place that the spec names.",
)
@as_json
def register(run: str, name: str, uri: str, weights: str, with_backbone: bool, as_json: bool) -> None:
    """Log the trained model of RUN and add it to the MLflow model registry as a new version.

    RUN is an id, the start of an id, or a name. The logged model holds the folder that `side4video export` writes, the
    source of this package, and the exact versions of its dependencies. So `mlflow.pyfunc.load_model` works on a machine
    without side4video. Its `predict` takes a table with a column `video`; of a retrieval run, one with the columns
    `text` and `folder`.
    """
    import side4video
    from side4video.apps.export import search_table, table
    from side4video.apps.export.bundled_run import bundle_run
    from side4video.apps.export.card import model_page
    from side4video.spec.bundle import describe_classes
    from side4video.tracking.chosen_weights import test_area
    from side4video.tracking.mlflow.registry import LoggedModel, check_model_name, register_model
    from side4video.tracking.mlflow.store import MLflowStore

    store = MLflowStore(uri).prepare()
    with temporary_folder() as scratch:
        folder = scratch / "bundle"
        if name:
            check_model_name(name)
        found, bundle, _ = bundle_run(store, run, folder, weights=weights, with_backbone=with_backbone)
        chosen = name or check_model_name(re.sub(r"[^A-Za-z0-9_-]+", "-", found.spec.name).strip("-"))
        is_retrieval = found.spec.task.kind == "retrieval"
        main = found.spec.task.metrics[0].name
        figure = bundle.figures.get(f"{test_area(bundle.figures, found.choose(weights))}/{main}")
        asked, usage = (search_table, SEARCH_USAGE) if is_retrieval else (table, USAGE)
        model = LoggedModel(
            name=chosen,
            bundle=folder,
            loader=asked.__name__,
            package=Path(side4video.__file__).parent,
            inputs=asked.INPUTS,
            columns=asked.COLUMNS,
            lists=asked.LISTS,
            top=asked.TOP,
            tags={
                "run_id": found.run_id,
                "backbone_sha256": bundle.backbone_sha256,
                "dataset_fingerprint": bundle.origin.get("data fingerprint", ""),
                "weights": weights,
                main: "" if figure is None else f"{figure:.6g}",
            },
            description=model_page(bundle, found.spec, usage=usage.format(name=chosen)),
        )
        size = sum(path.stat().st_size for path in folder.iterdir())
        made = register_model(store.uri, store.get(found.run_id), model)
    if as_json:
        document = {"name": made.name, "version": made.version, "model_id": made.model_id, "uri": made.uri}
        click.echo(json.dumps({**document, "run_id": found.run_id, "bundle_bytes": size}, indent=2))
        return
    kind = "retrieval" if is_retrieval else describe_classes(bundle.classes, bundle.heads)
    print_text(f"{made.uri}: {found.name} ({found.run_id[:8]}), {kind}, {format_bytes(size)}")
    columns = "the columns `text` and `folder`" if is_retrieval else "a column `video`"
    print_text(f'load it: mlflow.pyfunc.load_model("{made.uri}").predict(table with {columns})')
