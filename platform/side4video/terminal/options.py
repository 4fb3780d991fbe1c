"""Options and arguments that several commands take."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from side4video.core.errors import InputError

Command = Callable[..., Any]

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the document, as in --set optimization.learning_rate=1e-4. Repeatable.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")
job_api = click.option(
    "--address",
    default="",
    metavar="URL",
    help="The cluster's job API, a Ray dashboard's http://HOST:8265; by default RAY_API_SERVER_ADDRESS, or RAY_ADDRESS "
    "if it is one, or else this machine's.",
)
spec_file = click.argument("spec", type=click.Path())


def page_place(html: str | None) -> Path | None:
    """Where a page is to be written, known to be possible before the work begins; None if none is asked for.

    Raises:
        InputError: It is a folder, or cannot be written.
    """
    if html is None:
        return None
    path = Path(html)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.partial").touch()
        path.with_name(f".{path.name}.partial").unlink()
    except OSError as error:
        raise InputError("--html", f"{html}: {error.strerror}", allowed="a file") from error
    if path.is_dir():
        raise InputError("--html", f"{html} is a folder", allowed="a file", fix=f"--html {path / 'found.html'}")
    return path


def table_console() -> Console:
    """A console that leaves a table whole where nothing says how wide it may be (a file, a job's log)."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def made_folder(folder: Path) -> Path:
    """The folder for what a command writes, which is there now.

    Raises:
        InputError: It cannot be made.
    """
    from side4video.core.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", f"{folder}: {error.strerror}", allowed="a folder that can be made") from error
    return folder
