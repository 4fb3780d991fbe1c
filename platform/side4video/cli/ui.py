"""`side4video ui`: MLflow's pages over the runs, on this machine only unless told otherwise."""

import signal
import webbrowser
from typing import NoReturn

import click

ORDER_BY = "eval/top1"
"""The metric by which the runs are sorted at first."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--uri", default="", help="The store; by default MLFLOW_TRACKING_URI, or else the local one.")
@click.option("--experiment", default="side4video", show_default=True, help="The experiment to open.")
@click.option("--open/--no-open", "opens_browser", default=False, help="Open the page in a browser.")
def ui(*, port: int, host: str, uri: str, experiment: str, opens_browser: bool) -> None:
    """Show the tracked runs in a browser, until Ctrl-C."""
    from side4video.tracking.connection import is_server
    from side4video.tracking.links import experiment_link
    from side4video.tracking.server import TrackingServer, is_loopback
    from side4video.tracking.store import Store

    store = Store(uri, experiment)
    if is_server(store.uri):
        _show(experiment_link(store.uri, store.experiment_id, ORDER_BY), opens_browser=opens_browser)
        return
    if not is_loopback(host):
        warning = f"warning: MLflow asks for no login; whoever reaches {host}:{port} can change and delete runs"
        click.echo(warning, err=True)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    click.echo("Starting MLflow …", err=True)
    try:
        with TrackingServer(store, host=host, port=port) as server:
            click.echo(f"MLflow: {server.address}  (Ctrl-C ends it)")
            _show(experiment_link(server.address, store.experiment_id, ORDER_BY), opens_browser=opens_browser)
            server.wait()
    except KeyboardInterrupt:
        click.echo("MLflow ended.", err=True)


def _show(link: str, *, opens_browser: bool) -> None:
    click.echo(f"Runs:   {link}")
    if opens_browser:
        webbrowser.open(link)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
