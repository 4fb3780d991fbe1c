"""`side4video serve`: a trained model behind a page and a small HTTP interface, on this machine."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.temporary import temporary_folder
from side4video.core.units import MIB

if TYPE_CHECKING:
    from side4video.apps.serve.server import Serving


@click.command()
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--replicas", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that compute.")
@click.option(
    "--batch",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Videos of one forward, where so many wait.",
)
@click.option("--queue", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Requests that may wait.")
@click.option("--max-upload-mib", type=click.IntRange(1, 1 << 20), default=256, show_default=True, help="Of a request.")
@click.option(
    "--video-seconds", type=click.FloatRange(1, 3600), default=60, show_default=True, help="To read a video, at most."
)
@click.option(
    "--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="Answers, where top_k is not said."
)
@click.option("--uri", default="", help="The store a run is in; by default MLFLOW_TRACKING_URI, or the local one.")
@click.option("--device", default="", help="`cpu` or `cuda`; by default the GPUs, or the CPU.")
def serve(
    *,
    model: str,
    host: str,
    port: int,
    replicas: int,
    batch: int,
    queue: int,
    max_upload_mib: int,
    video_seconds: float,
    top: int,
    uri: str,
    device: str,
) -> None:
    """Answer questions about videos over HTTP, until Ctrl-C: a page to drop them on, and JSON for programs.

    MODEL is a run (its id, the beginning of it, or its name), or the folder that `side4video export` wrote. A run of
    recognition takes `POST /predict`: a video as the body, or as a form's field `video`. A retrieval run takes `POST
    /search`: a form with the field `text` and files `video`.
    """
    from side4video.apps.serve.server import check_extra, run_server
    from side4video.core.network import is_loopback

    check_extra()
    if not is_loopback(host):
        click.echo(f"warning: there is no login; whoever reaches {host}:{port} can send videos", err=True)
    gpus = _gpus(device)
    with temporary_folder() as scratch:
        click.echo("loading the model …", err=True)
        made = _recipe(model, uri, scratch, device="cuda" if gpus else "cpu", seconds=video_seconds)
        kept: dict[str, Any] = {"host": host, "port": port, "replicas": replicas, "batch": batch, "queue": queue}
        serving = made(gpus=gpus, max_bytes=max_upload_mib * MIB, top=top, video_seconds=video_seconds, **kept)
        run_server(serving, _tell)
    click.echo("ended.", err=True)


def _tell(address: str) -> None:
    click.echo(f"{address}  (Ctrl-C ends it)")


def _gpus(device: str) -> int:
    from side4video.core.errors import InputError

    if device not in ("", "cpu", "cuda"):
        raise InputError("--device", device, allowed="cpu, cuda")
    if device == "cpu":
        return 0
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not found:
        raise InputError("--device", "cuda, and there is no GPU", allowed="cpu")
    return found


def _recipe(model: str, uri: str, scratch: Path, *, device: str, seconds: float) -> Any:
    """`Serving` with all that the model decides; what the command decides is still to be given."""
    if Path(model).is_dir():
        return _of_folder(Path(model), device, seconds)
    from side4video.runs.stored_run import fetch_trained
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    found, weights, fingerprint = fetch_trained(store, model, scratch)
    if found.spec.task.kind == "retrieval":
        from side4video.apps.serve.retriever import RetrievalPredictor
        from side4video.inference.retrieval import RetrievalModel

        build = partial(
            RetrievalPredictor, partial(_encoder, RetrievalModel, found.spec, weights, device), limit_seconds=seconds
        )
        about = f"Ranks videos by a text. Run {found.run_id[:8]}."
        return partial(_serving, "search", found.name, about, partial(build, processes=2))
    from side4video.inference.model import Model

    classes = found.spec.data.dataset.classes()
    make = partial(Model, found.spec, classes, weights, device=device, backbone_sha256=fingerprint)
    return _of_labels(found.name, f"Run {found.run_id[:8]}", len(classes), make, seconds)


def _of_folder(folder: Path, device: str, seconds: float) -> Any:
    from side4video.inference.bundle import read_bundle
    from side4video.inference.model import load

    bundle, _ = read_bundle(folder)
    made = partial(load, str(folder.resolve()), device)
    return _of_labels(bundle.name, "An exported model", len(bundle.classes), made, seconds)


def _of_labels(name: str, what: str, classes: int, build: Any, seconds: float) -> Any:
    from side4video.apps.serve.classifier import ClassifierPredictor

    about = f"{what}: names which of {classes} classes a video shows."
    return partial(
        _serving, "labels", name, about, partial(ClassifierPredictor, build, limit_seconds=seconds, processes=2)
    )


def _encoder(kind: Any, spec: Any, weights: Path, device: str) -> Any:
    import torch

    from side4video.engine.process_group import ProcessGroup

    return kind(spec, weights, ProcessGroup(device=torch.device(device)))


def _serving(kind: Any, name: str, about: str, build: Any, **options: Any) -> "Serving":
    from side4video.apps.serve.page import upload_page
    from side4video.apps.serve.server import Serving

    page = upload_page(name, kind=kind, about=about, max_bytes=options["max_bytes"])
    return Serving(kind=kind, name=name, page=page, build=build, **options)
