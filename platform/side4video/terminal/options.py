"""Options and arguments of several commands."""

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.disk_errors import explain_disk_error
from side4video.core.errors import InputError
from side4video.terminal.spec_completion import complete_spec

if TYPE_CHECKING:
    from side4video.terminal.console import PlainConsole


class FiniteRange(click.FloatRange):
    """Numbers between two bounds. `inf` and `nan` are none, also where a bound is missing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of a text."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


Command = Callable[..., Any]

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the spec, such as --set optimization.learning_rate=1e-4. Repeatable.",
)
store_uri = click.option(
    "--uri", default="", help="Address of the run store. Default: MLFLOW_TRACKING_URI, or the local store."
)
device = click.option(
    "--device", default="", help="cpu, cuda or cuda:1. Default: the first GPU, or the CPU if there is none."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
job_api = click.option(
    "--address",
    default="",
    metavar="URL",
    help="Address of the Ray dashboard, http://HOST:8265. By default RAY_API_SERVER_ADDRESS, or RAY_ADDRESS if it is a "
    "URL, or this machine.",
)
video_seconds = click.option(
    "--video-seconds",
    type=FiniteRange(1, 86_400),
    default=120,
    show_default=True,
    help="Longest time to decode one video, in seconds. A video that takes longer counts as unreadable.",
)
ray_address = click.option(
    "--address",
    default="local",
    show_default=True,
    help="Address of the Ray cluster; `local` starts one on this machine.",
)
anyway = click.option(
    "--anyway", multiple=True, metavar="FIELD", help="Also compare runs that differ in FIELD. Repeatable."
)
spec_file = click.argument("spec", type=click.Path(), shell_complete=complete_spec)
stored_weights = click.option(
    "--weights",
    type=click.Choice(["chosen", "best", "last"]),
    default="chosen",
    show_default=True,
    help="Weights of the best epoch, of the last one, or of the one that the run's `evaluation.choose_epoch` says.",
)


def once(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:  # noqa: ARG001
    """Callback of an option with `multiple=True` that has one value: a second one is refused, not taken silently.

    Raises:
        InputError: It was given several times.
    """
    if len(values) > 1:
        found = f"given {len(values)} times: {', '.join(values)}"
        raise InputError(option.opts[0], found, allowed="once", fix="call the command for each of them")
    return values[0] if values else None


def check_place(*, local: bool, address: str) -> None:
    """Check that a command is not told to train in this process and on a cluster.

    Raises:
        InputError: It is.
    """
    if local and address != "local":
        fix = "leave out --local to train on the cluster, or --address to train here"
        raise InputError("--address", f"{address}, beside --local", allowed="one of them", fix=fix)


def example(*commands: str) -> str:
    """The end of a command's help: examples, one in a line."""
    return "\b\n" + "\n".join([f"Example{'s' * (len(commands) > 1)}:", *(f"  side4video {each}" for each in commands)])


def page_path(html: str | None) -> Path | None:
    """The path of an HTML page, checked to be writable before the work begins; None for None.

    Raises:
        InputError: It is a folder, or cannot be written.
    """
    return None if html is None else output_file(Path(html), "--html")


def output_file(path: Path, option: str) -> Path:
    """The path that an option names, checked to be writable before the work begins.

    Raises:
        InputError: It is a folder, a link to nothing, or cannot be written.
    """
    if path.is_symlink() and not path.exists():
        fix = "remove the link, or name another file"
        raise InputError(option, f"{path} is a link to nothing", allowed="a file", fix=fix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        if explained := explain_disk_error(error, place=path.parent):
            raise explained from error
        raise InputError(option, f"{path}: {error.strerror}", allowed="a file", fix="name another place") from error
    if path.is_dir():
        raise InputError(option, f"{path} is a folder", allowed="a file", fix=f"{option} {path / 'found.html'}")
    return path


def table_console() -> "PlainConsole":
    """A console for tables: 120 columns wide if stdout is not a terminal."""
    from side4video.terminal.console import PlainConsole

    return PlainConsole() if sys.stdout.isatty() else PlainConsole(width=120)


def made_folder(folder: Path) -> Path:
    """Create the folder for the output of a command.

    Raises:
        InputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if explained := explain_disk_error(error, place=folder):
            raise explained from error
        raise InputError("--out", f"{folder}: {error.strerror}", allowed="a folder that can be made") from error
    return folder
