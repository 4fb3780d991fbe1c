"""A finished run written as a folder, for whoever gives it away: `export`, and MLflow's registry."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.runs.stored_run import FinishedRun, class_names, fetch_weights, find_finished, head_classes
from side4video.tracking.run_inputs import changed_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from side4video.apps.export.speed import Speed
    from side4video.models.towers.load import TowerWeights
    from side4video.spec.bundle import Bundle
    from side4video.spec.experiment import Experiment

log = logging.getLogger(__name__)
_LEAVE_OUT = 'leave it out; `side4video.load(..., task="retrieval")` reads the folder'


def bundle_run(
    store: Any,
    run: str,
    folder: Path,
    *,
    weights: str,
    with_backbone: bool,
    with_graph: bool = False,
    with_speed: bool = False,
    license_name: str = "",
) -> "tuple[FinishedRun, Bundle, Speed | None]":
    """Write a run into a folder (`spec.bundle`); the run, what the bundle says of itself, and its speed.

    `run` is an id, the beginning of one, or a name; `weights` is `chosen`, `best` or `last`. The folder must be new or
    empty. The whole model goes along as one graph if `with_graph` is set. With `with_speed`, the speed of a classifier
    on this machine is measured for the model card; None if it was not, or could not be. `license_name` is for the
    model card.

    Raises:
        InputError: There is no such run, the folder holds something, a disk is full, or a graph of a retrieval run is
            asked for.
    """
    from side4video.apps.export.card import model_card
    from side4video.spec.bundle import Bundle, write_bundle
    from side4video.tracking.tags import FINGERPRINT_TAG

    with temporary_folder() as scratch, explaining_disk_errors(scratch):
        found = find_finished(store, run, scratch)
        is_retrieval = found.spec.task.kind == "retrieval"
        if is_retrieval and with_graph:
            raise InputError("--graph", f"{found.where}, a retrieval run", allowed="recognition", fix=_LEAVE_OUT)
        heads = head_classes(store, found)
        record = store.get(found.source)
        bundle = Bundle(
            name=found.name,
            classes=() if is_retrieval or heads else class_names(store, found),
            heads=heads,
            backbone_sha256=record.tags.get("backbone_sha256", ""),
            figures=dict(record.metrics),
            origin={
                "run": found.run_id,
                "data set": found.spec.data.dataset.kind,
                "data fingerprint": record.tags.get(FINGERPRINT_TAG, ""),
                "commit": record.tags.get("commit", ""),
                "weights": found.choose(weights),
            },
        )
        file = fetch_weights(store, found, scratch, weights)
        if (with_backbone or with_graph) and (changed := changed_weights(record, found.spec)):
            fix = "bring the weights back, or export without the backbone"
            raise InputError(f"{found.where}: backbone.weights", changed, fix=fix)
        backbone = found.spec.backbone.read_weights() if with_backbone else None
        graph = scratch / "graph.pt2" if with_graph else None
        if graph:
            bundle = replace(bundle, graph=_write_graph(graph, bundle, found.spec, file, backbone))
        speed = _speed(found.spec, bundle.classes, file, heads=heads) if with_speed and not is_retrieval else None
        card = model_card(bundle, found.spec, license_name=license_name, speed=str(speed or ""))
        written = write_bundle(folder, bundle, found.spec, file, card=card, backbone=backbone, graph=graph)
        return found, written, speed


def _speed(
    spec: "Experiment",
    classes: tuple[str, ...],
    weights: Path,
    *,
    heads: "Mapping[str, tuple[str, ...]] | None" = None,
) -> "Speed | None":
    """The speed of a model; a warning if it cannot be measured, which is no reason not to export."""
    from side4video.apps.export.speed import measure_speed

    try:
        return measure_speed(spec, classes, weights, heads=heads)
    except Exception as error:  # whatever a method, a device or a decoder raises
        log.warning("the speed was not measured: %s", " ".join(str(error).split())[:300] or type(error).__name__)
        return None


def _write_graph(
    place: Path, bundle: "Bundle", spec: "Experiment", weights: Path, backbone: "TowerWeights | None"
) -> str:
    """How near the graph is to the model."""
    from side4video.apps.export.graph import describe_check, write_graph
    from side4video.inference.model import Model

    click.echo("exporting the graph …", err=True)
    model = Model(
        spec,
        bundle.classes,
        weights,
        heads=bundle.heads,
        backbone=backbone,
        backbone_sha256=bundle.backbone_sha256,
    )
    return describe_check(write_graph(model, place))
