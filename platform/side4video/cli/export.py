"""`side4video export`: a finished run as a folder that can be loaded anywhere."""

import json
import tempfile
from pathlib import Path

import click

from side4video.cli.options import as_json
from side4video.core.units import format_bytes

FIGURES = ("best/top1", "eval/top1", "eval/top5", "eval/mean_class_accuracy", "eval/loss", "eval/videos")


@click.command()
@click.argument("run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--uri", default="", help="The store the run is in; by default MLFLOW_TRACKING_URI, or the local one.")
@click.option(
    "--weights", type=click.Choice(["best", "last"]), default="best", show_default=True, help="Which weights."
)
@click.option("--with-backbone", is_flag=True, help="Also the frozen tower's weights, so that nothing else is needed.")
@as_json
def export(run: str, folder: Path, uri: str, weights: str, with_backbone: bool, as_json: bool) -> None:
    """Write RUN (its id, the beginning of it, or its name) into FOLDER: weights, document, model card, checksums.

    Load it with `side4video.load(FOLDER)`, or ask it with `side4video predict FOLDER VIDEO...`.
    """
    from side4video.cli.finished_run import fetch_weights, find_finished
    from side4video.core.errors import InputError
    from side4video.inference.bundle import Bundle, model_card, write_bundle
    from side4video.tracking.journal import FINGERPRINT_TAG
    from side4video.tracking.store import Store

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
        written = write_bundle(
            folder,
            bundle,
            found.spec,
            fetch_weights(store, found, Path(scratch), weights),
            card=model_card(bundle, found.spec, figures=FIGURES),
            backbone=found.spec.backbone.read_weights() if with_backbone else None,
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if as_json:
        told = {"folder": str(folder), "run_id": found.run_id, "bytes": size, "checksums": dict(written.checksums)}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{folder}: {found.name} ({found.run_id[:8]}), {len(bundle.classes)} classes, {format_bytes(size)}")
    click.echo(f"ask it: side4video predict {folder} VIDEO...")
