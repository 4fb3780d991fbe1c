"""`side4video serve`: a web page and an HTTP interface for a trained model, on this machine."""

from functools import partial

import click

from side4video.core.temporary import temporary_folder
from side4video.core.units import MIB
from side4video.terminal.options import FiniteRange, example, store_uri


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
    type=FiniteRange(1, 86_400),
    default=300,
    show_default=True,
    help="Longest time for one upload, in seconds.",
)
@click.option(
    "--video-seconds",
    type=FiniteRange(1, 3600),
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
    from side4video.apps.serve.served_model import find_model, serve_page
    from side4video.apps.serve.server import Serving, check_extra, run_server
    from side4video.core.network import is_localhost

    check_extra()
    if not is_localhost(host):
        click.echo(f"warning: there is no login: everyone who can reach {host}:{port} can send videos", err=True)
    gpus = _gpus(device)
    with temporary_folder() as scratch:
        click.echo("loading the model …", err=True)
        served = find_model(model, uri, scratch, device="cuda" if gpus else "cpu")
        serving = Serving(
            kind=served.kind,
            name=served.name,
            page=serve_page(served, max_bytes=max_upload_mib * MIB),
            build=partial(served.build, limit_seconds=video_seconds, processes=2),
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
