"""`side4video serve`: a web page and an HTTP interface for a trained model, on this machine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from side4video.core.temporary import temporary_folder
from side4video.core.units import MIB
from side4video.terminal.options import example, store_uri

if TYPE_CHECKING:
    from side4video.apps.serve.protocol import Predictor


@click.command(
    short_help="Serve a trained model over HTTP.",
    epilog=example("serve quickstart --port 8000"),
)
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all networks.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 picks a free port.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name under which browsers may call the server. Loopback names are always allowed, and with "
    "--host also this machine's own names and addresses. Repeatable.",
)
@click.option("--replicas", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of model processes.")
@click.option(
    "--batch",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Largest number of videos in one forward pass.",
)
@click.option(
    "--queue", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Largest number of waiting requests."
)
@click.option(
    "--max-upload-mib", type=click.IntRange(1, 1 << 20), default=256, show_default=True, help="Largest upload, in MiB."
)
@click.option(
    "--upload-seconds",
    type=click.FloatRange(1, 86_400),
    default=300,
    show_default=True,
    help="Longest time for one upload, in seconds.",
)
@click.option(
    "--video-seconds",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Longest time to decode one video, in seconds.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Number of answers if the request gives no top_k.",
)
@store_uri
@click.option("--device", default="", help="cpu or cuda. Default: all GPUs, or the CPU if there is none.")
def serve(
    *,
    model: str,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    replicas: int,
    batch: int,
    queue: int,
    max_upload_mib: int,
    upload_seconds: float,
    video_seconds: float,
    top: int,
    uri: str,
    device: str,
) -> None:
    """Serve MODEL over HTTP: a page to upload videos, and JSON for programs. Stop it with Ctrl-C.

    MODEL is a run (its id, the start of its id, or its name), or a folder that `side4video export` wrote. A classifier
    answers `POST /predict`, with the video as the body or as the form field `video`. A retrieval model answers
    `POST /search`, a form with the field `text` and files `video`.
    """
    from side4video.apps.serve.server import Serving, check_extra, run_server
    from side4video.core.network import is_localhost
    from side4video.reports.render import render

    check_extra()
    if not is_localhost(host):
        click.echo(f"warning: there is no login: everyone who can reach {host}:{port} can send videos", err=True)
    gpus = _gpus(device)
    with temporary_folder() as scratch:
        click.echo("loading the model …", err=True)
        kind, name, about, build = _find_model(model, uri, scratch, device="cuda" if gpus else "cpu")
        serving = Serving(
            kind=kind,
            name=name,
            page=render("serve.html.j2", title=name, kind=kind, about=about, max_bytes=max_upload_mib * MIB),
            build=partial(build, limit_seconds=video_seconds, processes=2),
            host=host,
            port=port,
            replicas=replicas,
            gpus=gpus,
            batch=batch,
            queue=queue,
            max_bytes=max_upload_mib * MIB,
            top=top,
            video_seconds=video_seconds,
            upload_seconds=upload_seconds,
            allowed_hosts=allowed_hosts,
        )
        run_server(serving, lambda address: click.echo(f"{address}  (stop it with Ctrl-C)"))
    click.echo("ended.", err=True)


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


def _find_model(
    model: str, uri: str, scratch: Path, *, device: str
) -> tuple[Literal["labels", "search"], str, str, Callable[..., "Predictor"]]:
    """What a run or a folder predicts, its name, a sentence about it, and the builder of its predictor."""
    from side4video.apps.serve.predictors import ClassifierPredictor, RetrievalPredictor
    from side4video.inference.bundle import read_bundle
    from side4video.inference.model import Model, load
    from side4video.inference.retrieval import RetrievalModel

    if (folder := Path(model)).is_dir():
        bundle, _ = read_bundle(folder)
        about = f"An exported model: classifies a video into {len(bundle.classes)} classes."
        build = partial(load, str(folder.resolve()), device)
        return "labels", bundle.name, about, partial(ClassifierPredictor, build)
    from side4video.runs.stored_run import class_names, fetch_trained
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    found, weights, fingerprint = fetch_trained(store, model, scratch)
    run = f"Run {found.run_id[:8]}"
    if found.spec.task.kind == "retrieval":
        build = partial(RetrievalModel, found.spec, weights, device)
        return "search", found.name, f"Ranks videos by a text. {run}.", partial(RetrievalPredictor, build)
    classes = class_names(store, found)
    about = f"{run}: classifies a video into {len(classes)} classes."
    build = partial(Model, found.spec, classes, weights, device=device, backbone_sha256=fingerprint)
    return "labels", found.name, about, partial(ClassifierPredictor, build)
