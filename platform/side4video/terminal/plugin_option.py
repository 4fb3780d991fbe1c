"""The option `--plugin`, which all commands have that read documents."""

import difflib
import shlex
from pathlib import Path

import click

from side4video.core.allowed_plugins import allow_plugins, check_divider, is_file_source, unreadable
from side4video.core.errors import InputError

_NAME = "plugin_sources"


def with_plugin_option(command: click.Command) -> click.Command:
    """The command, or all commands of a group, with the option; a command that has it already stays as it is."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_plugin_option(inner)
    elif all(parameter.name != _NAME for parameter in command.params):
        command.params.append(_option())
    return command


def _option() -> click.Option:
    return click.Option(
        ["--plugin", _NAME],
        multiple=True,
        metavar="FILE|MODULE",
        expose_value=False,
        is_eager=True,  # other options, and completion, may read the document
        callback=_allow,
        help="Allow a plug-in that the document names in `plugins` to run code. Repeatable. Also: the environment "
        "variable SIDE4VIDEO_PLUGINS.",
    )


def plugin_words() -> str:
    """The options that allow again what this command's options allowed, with a space in front; empty if none did."""
    context = click.get_current_context(silent=True)
    sources = context.meta.get(_NAME, ()) if context else ()
    return "".join(f" --plugin {shlex.quote(source)}" for source in sources)


def _allow(context: click.Context, parameter: click.Parameter, sources: tuple[str, ...]) -> None:
    del parameter
    for source in sources:
        check_divider(source, "--plugin")
        if is_file_source(source) and not Path(source).is_file():
            beside = [path.name for path in Path(source).parent.glob("*.py") if path.is_file()]
            near = difflib.get_close_matches(Path(source).name, beside, n=1)
            fix = f"did you mean {near[0]}?" if near else "check the path"
            found = f"{source}: {unreadable(source)}"
            raise InputError("--plugin", found, allowed="a Python file, or a module", fix=fix)
    context.meta[_NAME] = sources
    allow_plugins(*sources)
