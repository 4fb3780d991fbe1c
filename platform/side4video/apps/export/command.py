"""`side4video export`: a finished run as a folder that can be loaded anywhere, and on the Hugging Face hub."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.core.errors import InputError
from side4video.core.units import format_bytes
from side4video.terminal.options import as_json, example, store_uri, stored_weights
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.apps.export.hub import Hub


@click.command(
    short_help="Write a trained model into a folder.",
    epilog=example("export quickstart model --with-backbone", "predict model clip.mp4"),
)
@click.argument("run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@store_uri
@stored_weights
@click.option(
    "--with-backbone", is_flag=True, help="Include the frozen tower's weights, so that the folder is complete."
)
@click.option(
    "--graph",
    is_flag=True,
    help="Also write the whole model as one graph for `torch.export.load`. It takes uint8 frames of any number of "
    "clips and returns scores. It implies --with-backbone.",
)
@click.option(
    "--speed/--no-speed",
    default=True,
    show_default=True,
    help="Measure for a few seconds how many videos per second this machine decodes and classifies, for the card. "
    "Not of a retrieval model.",
)
@click.option(
    "--push",
    default="",
    metavar="NAMESPACE/NAME",
    help="Also upload the folder to the Hugging Face hub, as a private repository.",
)
@click.option("--public", is_flag=True, help="With --push: make the repository public.")
@click.option(
    "--license",
    "license_name",
    default="",
    metavar="NAME",
    help="Licence for the model card, by the hub's name, such as apache-2.0. Without it the card names none.",
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
    speed: bool,
    push: str,
    public: bool,
    license_name: str,
    as_json: bool,
) -> None:
    """Write the trained model of RUN into FOLDER: weights, spec, model card and checksums.

    RUN is an id, the start of an id, or a name. Load the folder in Python with `side4video.load(FOLDER)`, or use it
    with `side4video predict FOLDER VIDEO`. The folder of a retrieval run is for `side4video search FOLDER TEXT VIDEOS`.
    """
    from side4video.apps.export.bundled_run import bundle_run
    from side4video.core.whole_folder import check_new, hold_folder
    from side4video.spec.bundle import describe_classes, needed_plugins
    from side4video.tracking.stores import store_at

    check_new(folder)
    hub = _hub(push, public=public)
    with hold_folder(folder):
        check_new(folder)  # another process may have written it since
        found, written, measured = bundle_run(
            store_at(uri).prepare(),
            run,
            folder,
            weights=weights,
            with_backbone=with_backbone or graph,
            with_graph=graph,
            with_speed=speed,
            license_name=license_name,
        )
    page = hub.push(folder, written) if hub else ""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if as_json:
        document = {"folder": str(folder), "run_id": found.run_id, "bytes": size, "checksums": dict(written.checksums)}
        document |= {"graph": written.graph, "page": page, "speed": measured.as_json() if measured else None}
        click.echo(json.dumps(document, indent=2))
        return
    is_retrieval = found.spec.task.kind == "retrieval"
    kind = "retrieval" if is_retrieval else describe_classes(written.classes, written.heads)
    print_text(f"{folder}: {written.name} ({found.run_id[:8]}), {kind}, {format_bytes(size)}")
    if written.graph:
        print_text(f"graph.pt2: {written.graph}")
    if measured:
        print_text(f"speed: {measured}")
    if page:
        print_text(f"{'public' if public else 'private'}: {page}")
    plugins = "".join(f" --plugin {shlex.quote(each)}" for each in needed_plugins(found.spec, folder))
    command, asked = ("search", "TEXT FOLDER") if is_retrieval else ("predict", "VIDEO...")
    print_text(f"ask it: side4video {command} {shlex.quote(str(folder))} {asked}{plugins}")


def _hub(push: str, *, public: bool) -> "Hub | None":
    if not push:
        if public:
            raise InputError("--public", "there is no --push", fix="--push NAMESPACE/NAME --public")
        return None
    from side4video.apps.export.hub import Hub

    hub = Hub(push, public=public)
    hub.check()
    return hub
