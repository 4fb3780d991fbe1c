"""`side4video`: the command group. Each command's module is imported when it is called."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

import click

from side4video import __version__
from side4video.core.disk_errors import explain_disk_error, explain_place
from side4video.core.errors import Interrupted, Side4VideoError, Terminated
from side4video.core.paths import home_path
from side4video.core.signals import deliver_signals_safely, stop_behind
from side4video.core.temporary import remove_stale
from side4video.core.text import printable
from side4video.data.listing_once import listing_once
from side4video.terminal.plugin_option import with_plugin_option
from side4video.terminal.usual_fields import words_for

_log = logging.getLogger(__name__)

COMMANDS = {
    "run": "cli.run",
    "sweep": "cli.sweep",
    "sweeps": "cli.sweeps",
    "submit": "apps.jobs.submit",
    "jobs": "apps.jobs.command",
    "plan": "cli.plan",
    "evaluate": "cli.evaluate",
    "report": "cli.report",
    "figure": "cli.figure",
    "predict": "cli.predict",
    "export": "apps.export.command",
    "import": "apps.imports.command",
    "register": "apps.export.register",
    "serve": "apps.serve.command",
    "search": "apps.search.command",
    "attention": "apps.attention.command",
    "examples": "apps.examples.command",
    "zero-shot": "cli.zero_shot",
    "init": "cli.init",
    "validate": "cli.validate",
    "presets": "cli.presets",
    "doctor": "cli.doctor",
    "check-plugin": "apps.check_plugin.command",
    "schema": "cli.schema",
    "completion": "cli.completion",
    "list": "cli.listing",
    "data": "cli.data",
    "ui": "apps.mlflow_ui.ui",
    "services": "apps.mlflow_ui.services",
    "demo": "cli.demo",
}
"""Module of each command, in the order of the help page."""

_FUNCTIONS = {"import": "import_checkpoint", "list": "list_kinds"}
"""Of commands whose names Python has taken."""

READS_NO_DOCUMENTS = {
    "jobs",
    "sweeps",
    "init",
    "presets",
    "doctor",
    "check-plugin",
    "schema",
    "completion",
    "ui",
    "services",
    "demo",
}
"""Commands without the option `--plugin`."""


OTHER_NAMES = {
    "check": "validate",
    "classify": "predict",
    "eval": "evaluate",
    "fit": "run",
    "infer": "predict",
    "new": "init",
    "test": "evaluate",
    "train": "run",
}
"""Commands by names that other tools have for them."""


class _PlainFormatter(logging.Formatter):
    """Messages name classes, files and videos, which may hold anything."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t")


class LazyGroup(click.Group):
    """A group that imports commands when they are called, so that help and validation start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and its arguments; a name that no command has is an error that says which one may be meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            meant = OTHER_NAMES.get(name) or next(iter(get_close_matches(name, COMMANDS, n=1)), "")
            way = f" Did you mean {meant!r}?" if meant else " side4video --help lists them."
            raise click.UsageError(f"No such command {name!r}.{way}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Call the command; an option that only `run` has is an error that says how to set the field."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            command = error.ctx.command if error.ctx else None
            takes_fields = command is not None and any(each.name == "overrides" for each in command.params)
            words = words_for(error.option_name, in_sweep=command is not None and command.name == "sweep")
            if not takes_fields or not words:
                raise
            found = f"No such option {error.option_name!r}; `side4video run` has it. Write {words}."
            raise click.UsageError(found, error.ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"side4video.{COMMANDS[cmd_name]}")
        command = getattr(module, _FUNCTIONS.get(cmd_name, cmd_name.replace("-", "_")))
        return command if cmd_name in READS_NO_DOCUMENTS else with_plugin_option(command)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version")
@click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")
def cli(verbose: bool) -> None:
    """Train small networks beside a frozen CLIP to classify or search videos, with little GPU memory.

    \b
    Describe an experiment in one YAML file, then:
      side4video validate FILE      check the file
      side4video plan FILE          estimate memory, compute and time
      side4video run FILE           train, evaluate, and record in MLflow
      side4video predict RUN VIDEO  classify a video with the trained model
    """  # noqa: D301 - click reads \b as "keep these lines"
    click.get_current_context().with_resource(listing_once())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_PlainFormatter("%(levelname)s %(name)s: %(message)s"))
    for folder in remove_stale():
        _log.info("removed %s, which a killed process had left", folder)
    waiting = (home_path() / "outbox").glob("*.jsonl")
    if any(not file.name.endswith(".rejected.jsonl") for file in waiting):  # those stay, and nothing delivers them
        click.get_current_context().call_on_close(_deliver_waiting)


def _deliver_waiting() -> None:
    """At the end of any command: deliver the writes that stopped runs left."""
    from side4video.tracking.stores import deliver_waiting

    deliver_waiting()


def continuation(arguments: Sequence[str]) -> str:
    """The command that goes on where this one was stopped; empty if there is nothing to go on with.

    `run --go-on` begins a run that was stopped before it was recorded, and `sweep` finds its arms by itself.
    """
    command = next((each for each in arguments if not each.startswith("-")), "")
    if command == "run" and "--smoke" not in arguments:
        kept = [each for each in arguments if each not in ("--resume", "--go-on")]
        return shlex.join(["side4video", *kept, "--go-on"])
    if command == "sweep" or list(arguments[:2]) in (["data", "pack"], ["data", "make"]):
        return shlex.join(["side4video", *arguments])
    return ""


def _leave(stop: BaseException) -> NoReturn:
    """Say that the command was stopped and how to go on, and exit."""
    way = continuation(sys.argv[1:])
    if isinstance(stop, Interrupted | Terminated):
        click.echo(f"interrupted: {printable(str(stop))} · continue with: {way or 'the same command'}", err=True)
        sys.exit(stop.exit_code)
    # What is kept, where the command knows it; click wraps Ctrl-C.
    kept = printable(str(stop if isinstance(stop, KeyboardInterrupt) else stop.__cause__ or ""))
    click.echo(f"interrupted{kept and f' · {kept}'}{way and f' · continue with: {way}'}", err=True)
    sys.exit(130)


def main() -> None:
    """Run the command line. Errors that users can fix are printed in one line without a traceback.

    So are errors of disks, wherever they come from; `--verbose` shows where.
    """
    deliver_signals_safely()
    # Pydantic would read the metadata of every installed package to look for plug-ins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        cli.main(prog_name="side4video", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt, Interrupted, Terminated) as stop:
        _leave(stop)
    except Side4VideoError as error:
        error = explain_disk_error(error) or error
        message = printable(str(error), keep="\n")
        click.echo(f"error: {message}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if (stop := stop_behind(error)) is not None:
            _leave(stop)
        explained = explain_disk_error(error) or explain_place(error)
        if explained is None:
            raise
        _log.info("the disk's error came from here", exc_info=error)
        click.echo(f"error: {explained}", err=True)
        sys.exit(explained.exit_code)
