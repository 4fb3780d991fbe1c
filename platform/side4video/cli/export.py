"""`side4video export`: a finished run as a folder that can be loaded anywhere, and on the Hugging Face hub."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.cli.options import as_json
from side4video.core.errors import InputError
from side4video.core.units import format_bytes

if TYPE_CHECKING:
    from side4video.inference.bundle import Bundle
    from side4video.inference.hub import Hub
    from side4video.models.towers.load import TowerWeights
    from side4video.spec.experiment import Experiment


@click.command()
@click.argument("run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--uri", default="", help="The store the run is in; by default MLFLOW_TRACKING_URI, or the local one.")
@click.option(
    "--weights", type=click.Choice(["best", "last"]), default="best", show_default=True, help="Which weights."
)
@click.option("--with-backbone", is_flag=True, help="Also the frozen tower's weights, so that nothing else is needed.")
@click.option(
    "--graph",
    is_flag=True,
    help="Also the whole model as one graph for `torch.export.load`: uint8 frames in, scores out, any number of clips. "
    "It holds the tower, so --with-backbone is taken, too.",
)
@click.option("--push", default="", metavar="NAMESPACE/NAME", help="Also onto the Hugging Face hub, private.")
@click.option("--public", is_flag=True, help="With --push: everybody may read it.")
@click.option(
    "--license",
    "license_name",
    default="",
    metavar="NAME",
    help="A licence by the hub's name, such as apache-2.0, for the model card; none is guessed.",
)
@as_json
def export(
    *,
    run: str,
    folder: Path,
    uri: str,
    weights: str,
    with_backbone: bool,
    graph: bool,
    push: str,
    public: bool,
    license_name: str,
    as_json: bool,
) -> None:
    """Write RUN (its id, the beginning of it, or its name) into FOLDER: weights, document, model card, checksums.

    Load it with `side4video.load(FOLDER)`, ask it with `side4video predict FOLDER VIDEO...`.
    """
    from side4video.inference.bundle import check_new

    check_new(folder)
    hub = _hub(push, public=public)
    run_id, written = _write(run, folder, uri, weights, (with_backbone or graph, graph), license_name)
    page = hub.push(folder, written) if hub else ""
    size = sum(path.stat().st_size for path in folder.iterdir())
    if as_json:
        told = {"folder": str(folder), "run_id": run_id, "bytes": size, "checksums": dict(written.checksums)}
        click.echo(json.dumps({**told, "graph": written.graph, "page": page}, indent=2))
        return
    click.echo(f"{folder}: {written.name} ({run_id[:8]}), {len(written.classes)} classes, {format_bytes(size)}")
    if written.graph:
        click.echo(f"graph.pt2: {written.graph}")
    if page:
        click.echo(f"{'public' if public else 'private'}: {page}")
    click.echo(f"ask it: side4video predict {folder} VIDEO...")


def _hub(push: str, *, public: bool) -> "Hub | None":
    if not push:
        if public:
            raise InputError("--public", "there is no --push", fix="--push NAMESPACE/NAME --public")
        return None
    from side4video.inference.hub import Hub

    hub = Hub(push, public=public)
    hub.check()
    return hub


def _write(
    run: str, folder: Path, uri: str, weights: str, parts: tuple[bool, bool], license_name: str
) -> "tuple[str, Bundle]":
    """The run's id, and what was written; `parts` are whether the backbone's weights and a graph go with it."""
    from dataclasses import replace

    from side4video.cli.finished_run import fetch_weights, find_finished
    from side4video.inference.bundle import Bundle, write_bundle
    from side4video.inference.card import model_card
    from side4video.tracking.journal import FINGERPRINT_TAG
    from side4video.tracking.store import Store

    with_backbone, with_graph = parts
    store = Store(uri).prepare()
    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        found = find_finished(store, run, Path(scratch))
        if found.spec.task.kind != "recognition":
            raise InputError(found.where, f"its task is {found.spec.task.kind}", allowed="recognition")
        record = store.get(found.source)
        bundle = Bundle(
            name=found.name,
            classes=found.spec.data.dataset.classes(),
            backbone_sha256=record.tags.get("backbone_sha256", ""),
            figures=dict(record.metrics),
            origin={
                "run": found.run_id,
                "data set": found.spec.data.dataset.kind,
                "data fingerprint": record.tags.get(FINGERPRINT_TAG, ""),
                "commit": record.tags.get("commit", ""),
                "weights": weights,
            },
        )
        file = fetch_weights(store, found, Path(scratch), weights)
        backbone = found.spec.backbone.read_weights() if with_backbone else None
        graph = Path(scratch) / "graph.pt2" if with_graph else None
        if graph:
            bundle = replace(bundle, graph=_write_graph(graph, bundle, found.spec, file, backbone))
        card = model_card(bundle, found.spec, license_name=license_name)
        return found.run_id, write_bundle(folder, bundle, found.spec, file, card=card, backbone=backbone, graph=graph)


def _write_graph(
    place: Path, bundle: "Bundle", spec: "Experiment", weights: Path, backbone: "TowerWeights | None"
) -> str:
    """How near the graph is to the model."""
    from side4video.inference.graph import describe_check, write_graph
    from side4video.inference.model import Model

    click.echo("exporting the graph …", err=True)
    model = Model(spec, bundle.classes, weights, backbone=backbone, backbone_sha256=bundle.backbone_sha256)
    return describe_check(write_graph(model, place))
