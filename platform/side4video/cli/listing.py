"""`side4video list`: what may stand in a document."""

import json
from typing import Annotated, Any, get_args, get_origin

import click
from rich.console import Console
from rich.table import Table

from side4video.cli.options import as_json
from side4video.data.datasets import Dataset
from side4video.models.backbones import Backbone
from side4video.models.methods import Method
from side4video.tasks import Task

UNIONS: dict[str, Any] = {"methods": Method, "backbones": Backbone, "datasets": Dataset, "tasks": Task}


@click.command("list")
@click.argument("what", type=click.Choice(sorted(UNIONS)))
@as_json
def list_kinds(what: str, as_json: bool) -> None:
    """List methods, backbones, datasets or tasks: each with the first line of its description."""
    rows = [
        (member.model_fields["kind"].default, _summary(member), _fields(member)) for member in _members(UNIONS[what])
    ]
    if as_json:
        click.echo(
            json.dumps([{"kind": kind, "summary": text, "fields": fields} for kind, text, fields in rows], indent=2)
        )
        return
    table = Table("kind", "what it is", "fields", box=None, header_style="bold", pad_edge=False)
    for kind, text, fields in rows:
        table.add_row(kind, text, ", ".join(fields))
    Console().print(table)


def _members(union: Any) -> tuple[Any, ...]:
    inner = get_args(union)[0] if get_origin(union) is Annotated else union
    return get_args(inner) or (inner,)


def _summary(member: Any) -> str:
    return (member.__doc__ or "").strip().splitlines()[0]


def _fields(member: Any) -> list[str]:
    return [name for name in member.model_fields if name != "kind"]
