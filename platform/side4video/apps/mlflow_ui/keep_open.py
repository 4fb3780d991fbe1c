"""An MLflow server that a command keeps open until somebody ends it: `ui`, `services`."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from side4video.tracking.mlflow.server import TrackingServer


def keep_open(server: "TrackingServer", tell: Callable[[str], None]) -> None:
    """Start it, say where it is, and wait for Ctrl-C or a signal, which end it with all that it started.

    Args:
        server: Not started yet.
        tell: Says more, once it answers; gets its address.
    """
    from side4video.core.network import is_loopback

    if not is_loopback(server.host):
        who = f"whoever reaches {server.host}:{server.port} can change and delete runs"
        click.echo(f"warning: MLflow asks for no login; {who}", err=True)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end_as_ctrl_c)
    click.echo("Starting MLflow …", err=True)
    try:
        with server:
            click.echo(f"MLflow: {server.address}  (Ctrl-C ends it)")
            tell(server.address)
            server.wait()
    except KeyboardInterrupt:
        click.echo("MLflow ended.", err=True)


def _end_as_ctrl_c(*_: object) -> NoReturn:
    raise KeyboardInterrupt
