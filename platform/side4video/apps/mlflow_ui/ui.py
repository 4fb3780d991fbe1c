"""`side4video ui`: MLflow's pages over the runs, by default on this machine only."""

import signal
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from side4video.core.errors import InputError
from side4video.terminal.options import example, store_uri

if TYPE_CHECKING:
    from side4video.tracking.mlflow.server import TrackingServer
    from side4video.tracking.mlflow.store import MLflowStore


@click.command(epilog=example("ui --open", "ui --sweep quickstart-sweep"))
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@store_uri
@click.option("--experiment", default="side4video", show_default=True, help="MLflow experiment to open.")
@click.option("--sweep", default="", help="Compare the arms of this sweep: its name, or the id of its run.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in a browser.")
def ui(*, port: int, host: str, uri: str, experiment: str, sweep: str, open_browser: bool) -> None:
    """Show the recorded runs in a browser. Stop it with Ctrl-C."""
    from side4video.tasks.metrics import MAIN_METRICS
    from side4video.tracking.mlflow.connection import is_server
    from side4video.tracking.mlflow.links import experiment_link
    from side4video.tracking.mlflow.server import TrackingServer
    from side4video.tracking.mlflow.store import MLflowStore

    store = MLflowStore(uri, experiment)
    experiment_id, view = _find_arms(store, sweep) if sweep else _all_runs(store)

    def link(base: str) -> str:
        # MLflow groups the arms under their sweep and then draws no chart; the saved view ungroups them.
        return experiment_link(base, experiment_id, "" if view else MAIN_METRICS[0], chart=bool(sweep), view=view)

    if is_server(store.uri):
        _print_link(link(store.uri), open_browser=open_browser)
        return
    server = TrackingServer(store, host=host, port=port)
    run_server(server, lambda address: _print_link(link(address), open_browser=open_browser))


def _all_runs(store: "MLflowStore") -> tuple[str, str]:
    """The experiment, and the name of the saved view of its runs; empty if the store cannot save one."""
    from side4video.tracking.mlflow.connection import TrackingError
    from side4video.tracking.mlflow.saved_views import RUNS_VIEW, runs_view

    try:
        store.save_view(RUNS_VIEW, runs_view())
    except TrackingError:
        return store.experiment_id, ""
    return store.experiment_id, RUNS_VIEW


def _find_arms(store: "MLflowStore", sweep: str) -> tuple[str, str]:
    """The experiment of a sweep, and the name of the saved view of its arms."""
    from side4video.tasks.metrics import MAIN_METRICS
    from side4video.tracking.mlflow.store import MLflowStore
    from side4video.tracking.sweep_logger import children_of
    from side4video.tracking.tags import SWEEP_TAG

    run = store.find(sweep)
    if SWEEP_TAG not in run.tags:
        raise InputError("--sweep", f"run {run.run_id[:8]} ({run.name}) is not of a sweep", fix="give a sweep's name")
    key = run.tags[SWEEP_TAG]
    home = MLflowStore(store.uri, store.experiment_name(run.experiment_id))
    arms = list(children_of(home, key).values())
    home.save_sweep_view(key, arms, metric=run.params.get("sweep.metric", MAIN_METRICS[0]))
    return run.experiment_id, key


def _print_link(link: str, *, open_browser: bool) -> None:
    click.echo(f"Runs:   {link}")
    if open_browser:
        webbrowser.open(link)


def run_server(server: "TrackingServer", on_ready: Callable[[str], None]) -> None:
    """Start a server, print its address, and wait for Ctrl-C or a signal, which end all its processes.

    `on_ready` is called with the address as soon as the server answers.
    """
    from side4video.core.network import is_localhost

    if not is_localhost(server.host):
        who = f"whoever reaches {server.host}:{server.port} can change and delete runs"
        click.echo(f"warning: MLflow does not ask for a login; {who}", err=True)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    click.echo("Starting MLflow …", err=True)
    try:
        with server:
            click.echo(f"MLflow: {server.address}  (stop it with Ctrl-C)")
            on_ready(server.address)
            server.wait()
    except KeyboardInterrupt:
        click.echo("MLflow ended.", err=True)
