"""`side4video export`: a finished run as a folder that can be loaded anywhere."""

import json
from pathlib import Path

import click

from side4video.cli.options import as_json
from side4video.core.units import format_bytes


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
    from side4video.cli.finished_run import bundle_run
    from side4video.tracking.store import Store

    found, bundle = bundle_run(Store(uri).prepare(), run, folder, weights=weights, with_backbone=with_backbone)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if as_json:
        told = {"folder": str(folder), "run_id": found.run_id, "bytes": size, "checksums": dict(bundle.checksums)}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{folder}: {found.name} ({found.run_id[:8]}), {len(bundle.classes)} classes, {format_bytes(size)}")
    click.echo(f"ask it: side4video predict {folder} VIDEO...")
