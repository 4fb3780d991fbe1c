"""`side4video ui`: MLflow's pages over the runs, on this machine only unless told otherwise."""

import webbrowser
from typing import TYPE_CHECKING

import click

from side4video.apps.mlflow_ui.keep_open import keep_open
from side4video.core.errors import InputError
from side4video.tasks.metrics import MAIN_METRICS

if TYPE_CHECKING:
    from side4video.tracking.mlflow.store import MLflowStore

ORDER_BY = MAIN_METRICS[0]
"""The metric by which arms are compared, and runs are sorted where no view can be kept."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--uri", default="", help="The store; by default MLFLOW_TRACKING_URI, or else the local one.")
@click.option("--experiment", default="side4video", show_default=True, help="The experiment to open.")
@click.option("--sweep", default="", help="Open the arms of this sweep (its name, or its run's id) side by side.")
@click.option("--open/--no-open", "opens_browser", default=False, help="Open the page in a browser.")
def ui(*, port: int, host: str, uri: str, experiment: str, sweep: str, opens_browser: bool) -> None:
    """Show the tracked runs in a browser, until Ctrl-C."""
    from side4video.tracking.mlflow.connection import is_server
    from side4video.tracking.mlflow.links import experiment_link
    from side4video.tracking.mlflow.server import TrackingServer
    from side4video.tracking.mlflow.store import MLflowStore

    store = MLflowStore(uri, experiment)
    experiment_id, view = _find_arms(store, sweep) if sweep else _all_runs(store)

    def link(base: str) -> str:
        # MLflow folds the arms into their sweep and then draws nothing; the view unfolds them.
        return experiment_link(base, experiment_id, "" if view else ORDER_BY, chart=bool(sweep), view=view)

    if is_server(store.uri):
        _show(link(store.uri), opens_browser=opens_browser)
        return
    server = TrackingServer(store, host=host, port=port)
    keep_open(server, lambda address: _show(link(address), opens_browser=opens_browser))


def _all_runs(store: "MLflowStore") -> tuple[str, str]:
    """The experiment, and the name of the view of its runs; none where the store lets nobody keep a view."""
    from side4video.tracking.mlflow.connection import TrackingError
    from side4video.tracking.mlflow.saved_views import RUNS_VIEW, runs_view

    try:
        store.save_view(RUNS_VIEW, runs_view())
    except TrackingError:
        return store.experiment_id, ""
    return store.experiment_id, RUNS_VIEW


def _find_arms(store: "MLflowStore", sweep: str) -> tuple[str, str]:
    """The experiment that a sweep is in, and the name of the view of its arms."""
    from side4video.tracking.mlflow.store import MLflowStore
    from side4video.tracking.sweep_logger import children_of
    from side4video.tracking.tags import SWEEP_TAG

    run = store.find(sweep)
    if SWEEP_TAG not in run.tags:
        raise InputError("--sweep", f"run {run.run_id[:8]} ({run.name}) is no sweep's", fix="give a sweep's name")
    key = run.tags[SWEEP_TAG]
    home = MLflowStore(store.uri, store.experiment_name(run.experiment_id))
    arms = list(children_of(home, key).values())
    home.save_sweep_view(key, arms, metric=run.params.get("sweep.metric", ORDER_BY))
    return run.experiment_id, key


def _show(link: str, *, opens_browser: bool) -> None:
    click.echo(f"Runs:   {link}")
    if opens_browser:
        webbrowser.open(link)
