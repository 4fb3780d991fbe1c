"""`side4video list`: the available methods, backbones, data sets and tasks."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import click

from side4video.core.allowed_plugins import allowed_plugins
from side4video.terminal.options import as_json, example

KINDS = ("backbones", "datasets", "methods", "tasks")


@click.command("list", epilog=example("list methods"))
@click.argument("what", type=click.Choice(KINDS))
@as_json
def list_kinds(what: str, as_json: bool) -> None:
    """List the available methods, backbones, datasets or tasks.

    With --plugin, those of the plug-in too.
    """
    from side4video.terminal.console import PlainConsole
    from side4video.terminal.tables import fitted

    members = [*_members(_union(what)), *_of_plugins(what)]
    rows = [_row(member) for member in members]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = {"kind": "kind", "summary": "what it is", "packable": "trains in a pack", "fields": "fields"}
    columns = [key for key in heads if key in rows[0]]
    cells = {heads[key]: [_cell(row[key]) for row in rows] for key in columns}
    PlainConsole().print(fitted(cells, texts=cells))


def _union(what: str) -> Any:
    """The union of the documents of `what`."""
    from side4video.data.datasets import Dataset
    from side4video.models.backbones import Backbone
    from side4video.models.methods import Method
    from side4video.tasks import Task

    return {"methods": Method, "backbones": Backbone, "datasets": Dataset, "tasks": Task}[what]


def _members(union: Any) -> tuple[Any, ...]:
    inner = get_args(union)[0] if get_origin(union) is Annotated else union
    return get_args(inner) or (inner,)


def _of_plugins(what: str) -> Iterator[Any]:
    """The parts of the plug-ins that are allowed."""
    from side4video.plugins.loading import load_plugin

    for source in allowed_plugins():
        yield from getattr(load_plugin(source, where="--plugin").plugin, what, ())


def _row(member: Any) -> dict[str, Any]:
    from side4video.models.method import MethodSpec

    row = {"kind": member.model_fields["kind"].default, "summary": _summary(member), "fields": _fields(member)}
    # Methods alone say whether several of their students can share one frozen pass.
    return row | {"packable": member.packable} if issubclass(member, MethodSpec) else row


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "alone"
    return ", ".join(value) if isinstance(value, list) else value


def _summary(member: Any) -> str:
    return (member.__doc__ or "").strip().splitlines()[0]


def _fields(member: Any) -> list[str]:
    return [name for name in member.model_fields if name != "kind"]
