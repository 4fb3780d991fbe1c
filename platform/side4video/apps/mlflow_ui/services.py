"""`side4video services`: an MLflow server with a database of its own, for the runs of several machines."""

import click

from side4video.apps.mlflow_ui.ui import run_server
from side4video.core.errors import InputError
from side4video.terminal.options import example


@click.command(
    short_help="Start an MLflow server for several machines.",
    epilog=example("services --host 0.0.0.0 --port 5000"),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all networks.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name under which clients may call the server. This machine's own names and addresses of private "
    "networks are allowed already. Repeatable.",
)
@click.option(
    "--database",
    envvar="MLFLOW_BACKEND_STORE_URI",
    default="",
    metavar="URI",
    help="Database of the runs. Default: SQLite in the platform's folder. Put an address with a password into the "
    "variable MLFLOW_BACKEND_STORE_URI, because other users can read command lines.",
)
@click.option(
    "--artifacts",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    default="",
    metavar="PLACE",
    help="Folder or URI for checkpoints and reports. Default: MLFLOW_ARTIFACTS_DESTINATION, or a folder beside the "
    "database.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Number of server processes.")
def services(
    *, host: str, port: int, allowed_hosts: tuple[str, ...], database: str, artifacts: str, workers: int
) -> None:
    """Start an MLflow server for several machines. Stop it with Ctrl-C.

    Other machines send their metrics and artifacts to it over HTTP. They need no shared folder. Set
    MLFLOW_TRACKING_URI=http://HOST:5000 on each.
    """
    from side4video.core.network import is_localhost, names_here
    from side4video.core.paths import home
    from side4video.tracking.mlflow.connection import is_server
    from side4video.tracking.mlflow.server import TrackingServer
    from side4video.tracking.mlflow.sqlite_file import sqlite_uri
    from side4video.tracking.mlflow.store import MLflowStore

    folder = home() / "services"
    folder.mkdir(exist_ok=True)
    if is_server(database):
        raise InputError("--database", "a server's address", allowed="a database's, such as postgresql://HOST/mlflow")
    server = TrackingServer(
        MLflowStore(database or sqlite_uri(folder / "mlflow.db")),
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
