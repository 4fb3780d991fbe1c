"""`side4video`: the group of commands, each loaded when it is called."""

import logging
import sys
from importlib import import_module

import click

from side4video import __version__
from side4video.core.errors import Interrupted, Side4VideoError

COMMANDS = {
    "run": "cli.run",
    "sweep": "cli.sweep",
    "submit": "apps.jobs.submit",
    "jobs": "apps.jobs.command",
    "plan": "cli.plan",
    "evaluate": "cli.evaluate",
    "report": "cli.report",
    "figure": "cli.figure",
    "predict": "cli.predict",
    "export": "apps.export.command",
    "register": "apps.export.register",
    "serve": "apps.serve.command",
    "search": "apps.search.command",
    "attention": "apps.attention.command",
    "examples": "apps.examples.command",
    "zero-shot": "cli.zero_shot",
    "validate": "cli.validate",
    "schema": "cli.schema",
    "list": "cli.listing",
    "data": "cli.data",
    "ui": "apps.mlflow_ui.ui",
    "services": "apps.mlflow_ui.services",
    "demo": "cli.demo",
}
"""Command to module; in the order of the help page."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed: help and validation answer at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in a reader's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"side4video.{COMMANDS[cmd_name]}")
        return getattr(module, "list_kinds" if cmd_name == "list" else cmd_name.replace("-", "_"))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def cli(verbose: bool) -> None:
    """Memory-frugal transfer of frozen image models to video.

    A researcher's page is one YAML file: `side4video run experiments/quickstart.yaml`.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def main() -> None:
    """Run the command line; errors that a person can mend are one line, without a traceback."""
    try:
        cli.main(prog_name="side4video", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Interrupted as interruption:
        click.echo(f"interrupted: {interruption} · `run --resume`, or the same sweep, goes on", err=True)
        sys.exit(interruption.exit_code)
    except Side4VideoError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
