"""Options and arguments that several commands take."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the document, as in --set optimization.learning_rate=1e-4. Repeatable.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")
spec_file = click.argument("spec", type=click.Path())
