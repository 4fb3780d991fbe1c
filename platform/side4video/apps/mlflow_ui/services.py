"""`side4video services`: an MLflow server with a database of its own, for the runs of several machines."""

import click

from side4video.apps.mlflow_ui.ui import run_server
from side4video.core.errors import InputError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which it is called, beside this machine's own and addresses of private networks. Repeatable.",
)
@click.option(
    "--database",
    envvar="MLFLOW_BACKEND_STORE_URI",
    default="",
    metavar="URI",
    help="Where runs are kept; by default SQLite in the platform's folder. One with a password belongs into the "
    "variable MLFLOW_BACKEND_STORE_URI: command lines are public.",
)
@click.option(
    "--artifacts",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    default="",
    metavar="PLACE",
    help="Folder or URI for checkpoints and reports; by default beside the database. Also as "
    "MLFLOW_ARTIFACTS_DESTINATION.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that answer.")
def services(
    *, host: str, port: int, allowed_hosts: tuple[str, ...], database: str, artifacts: str, workers: int
) -> None:
    """Keep the runs of several machines, until Ctrl-C: they send metrics and artifacts here and need nothing shared."""
    from side4video.core.network import is_localhost, names_here
    from side4video.core.paths import home
    from side4video.tracking.mlflow.connection import is_server
    from side4video.tracking.mlflow.server import TrackingServer
    from side4video.tracking.mlflow.store import MLflowStore

    folder = home() / "services"
    folder.mkdir(exist_ok=True)
    if is_server(database):
        raise InputError("--database", "a server's address", allowed="a database's, such as postgresql://HOST/mlflow")
    server = TrackingServer(
        MLflowStore(database or f"sqlite:///{folder / 'mlflow.db'}"),
        host=host,
        port=port,
        artifacts=artifacts or str(folder / "artifacts"),
        allowed_hosts=allowed_hosts,
        workers=workers,
    )
    names = [host] if host not in {"0.0.0.0", "::"} else [*allowed_hosts, *names_here()]  # noqa: S104 - compared

    def print_uri(_: str) -> None:
        click.echo(f"For runs:  export MLFLOW_TRACKING_URI=http://{names[0]}:{port}")
        if is_localhost(host):
            click.echo("Only this machine reaches it; --host 0.0.0.0 opens it to others.")

    run_server(server, print_uri)
