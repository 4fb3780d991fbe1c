"""`side4video serve`: a web page and an HTTP interface for a trained model, on this machine."""

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
    help="Maximum number of videos in one forward.",
)
@click.option("--queue", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Requests that may wait.")
@click.option(
    "--max-upload-mib", type=click.IntRange(1, 1 << 20), default=256, show_default=True, help="Limit of a request."
)
@click.option(
    "--video-seconds",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Limit of the time to read a video.",
)
@click.option(
    "--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="Number of answers if top_k is not given."
)
@click.option("--uri", default="", help="MLflow store of the run. Default: MLFLOW_TRACKING_URI, or the local store.")
@click.option("--device", default="", help="`cpu` or `cuda`. Default: all GPUs, or the CPU if there is none.")
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
    """Serve a model over HTTP until Ctrl-C: a page to upload videos, and JSON for programs.

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
        make_serving = _find_model(model, uri, scratch, device="cuda" if gpus else "cpu", seconds=video_seconds)
        options: dict[str, Any] = {"host": host, "port": port, "replicas": replicas, "batch": batch, "queue": queue}
        serving = make_serving(
            gpus=gpus, max_bytes=max_upload_mib * MIB, top=top, video_seconds=video_seconds, **options
        )
        run_server(serving, _print_address)
    click.echo("ended.", err=True)


def _print_address(address: str) -> None:
    click.echo(f"{address}  (Ctrl-C ends it)")


def _gpus(device: str) -> int:
    from side4video.core.errors import InputError

    if device not in ("", "cpu", "cuda"):
        raise InputError("--device", device, allowed="cpu, cuda")
    if device == "cpu":
        return 0
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not gpus:
        raise InputError("--device", "cuda, and there is no GPU", allowed="cpu")
    return gpus


def _find_model(model: str, uri: str, scratch: Path, *, device: str, seconds: float) -> Any:
    """A partial `Serving` of a run or a folder; the options of the command are still to be given."""
    if Path(model).is_dir():
        return _exported(Path(model), device, seconds)
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
    build = partial(Model, found.spec, classes, weights, device=device, backbone_sha256=fingerprint)
    return _labels(found.name, f"Run {found.run_id[:8]}", len(classes), build, seconds)


def _exported(folder: Path, device: str, seconds: float) -> Any:
    from side4video.inference.bundle import read_bundle
    from side4video.inference.model import load

    bundle, _ = read_bundle(folder)
    build = partial(load, str(folder.resolve()), device)
    return _labels(bundle.name, "An exported model", len(bundle.classes), build, seconds)


def _labels(name: str, what: str, classes: int, build: Any, seconds: float) -> Any:
    from side4video.apps.serve.classifier import ClassifierPredictor

    about = f"{what}: classifies a video into {classes} classes."
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
