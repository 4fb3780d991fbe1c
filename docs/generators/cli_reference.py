"""The reference of the command line, from click's own description of each command."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

from side4video.cli.main import cli

CODE = re.compile(
    r"--set [\w./]+=[\w.-]*\w|--[a-z][a-z-]+|\b[a-z]+\.[a-z_]+=[\w.]*\w"
    r"|\$\{?[A-Z][A-Z0-9_]+\}?|\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b"
)
"""Options, settings and variables in a help text."""


def cli_reference() -> str:
    """Every command with its synopsis, its options and its help."""
    lines: list[str] = []
    for names, command in commands():
        lines += _told(names, command)
    return "\n".join(lines)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group with its names, in the order of the help page."""
    yield ("side4video",), cli
    yield from _below(("side4video",), cli)


def _below(names: tuple[str, ...], group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if command is None:
            continue
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from _below((*names, name), command)


def _told(names: tuple[str, ...], command: click.Command) -> list[str]:
    whole = " ".join(names)
    context = click.Context(command, info_name=whole)
    lines = [f'<a id="cli-{"-".join(names)}"></a>', "", f"{'#' * min(len(names) + 1, 4)} `{whole}`", ""]
    lines += ["    " + " ".join([whole, *command.collect_usage_pieces(context)]), ""]
    lines += [*_help(command.help or ""), ""]
    if isinstance(command, click.Group):
        inner = command.list_commands(context)
        links = [f"[`{name}`](#cli-{'-'.join((*names, name))})" for name in inner]
        lines += [f"Commands: {', '.join(links)}.", ""]
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            lines += _option(names, parameter, context)
    return lines


def _option(names: tuple[str, ...], option: click.Option, context: click.Context) -> list[str]:
    """One option as a list item: names, value, help, default, range."""
    info: dict[str, Any] = option.to_info_dict()
    value = "" if info["is_flag"] else f" {option.make_metavar(context).removesuffix(' RANGE')}"
    forms = [*info["opts"], *info["secondary_opts"]]
    told = [_as_markdown(inspect.cleandoc(info["help"] or ""))]
    if option.show_default and option.default is not None:
        shown = option.default
        if info["is_flag"] and info["secondary_opts"]:
            shown = (info["opts"] if shown else info["secondary_opts"])[0]
        told.append(f"Default: `{shown}`.")
    if isinstance(option.type, click.IntRange | click.FloatRange) and not info["is_flag"]:
        told.append(_range(option.type))
    if info["multiple"] and "epeatable" not in told[0]:
        told.append("Repeatable.")
    anchor = f'<a id="option-{"-".join(names)}-{info["name"]}"></a>'
    return [f"- {anchor}**`{', '.join(f'{form}{value}' for form in forms)}`**: {' '.join(told)}", ""]


def _range(kind: click.IntRange | click.FloatRange) -> str:
    """The bounds of a number, as a sentence."""
    if kind.min is not None and kind.max is not None:
        return f"From {kind.min:g} to {kind.max:g}."
    if kind.min is not None:
        return f"{'Above' if kind.min_open else 'At least'} {kind.min:g}."
    return f"{'Below' if kind.max_open else 'At most'} {kind.max:g}."


def _help(text: str) -> list[str]:
    r"""A help text as Markdown: paragraphs, and below a `\b` of click lines as they are."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        marked = paragraph.strip("\n")
        if marked.startswith("\b"):
            lines += [f"    {line}" for line in marked.split("\n")[1:]]
        else:
            lines += _as_markdown(marked.replace("\b\n", "")).split("\n")
        lines.append("")
    return lines[:-1]


def _as_markdown(text: str) -> str:
    """Options, settings and variables of a help text as code; what is code already stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else CODE.sub(r"`\g<0>`", part) for part in parts)
