"""What commands print: text of documents, folders and videos never controls the terminal.

Names of classes, runs and files are whatever somebody wrote. As they are, they could retitle a terminal, write over
other lines, or show letters in another order.
"""

import json
from typing import Any

import click

from side4video.core.text import printable


def print_text(line: str, *, err: bool = False) -> None:
    """Print one line as it can be shown: a name in it begins no further line."""
    click.echo(printable(line), err=err)


def print_json(document: Any) -> None:
    """Print a document for programs; letters stand as they are, what controls a terminal is escaped as JSON may be."""
    click.echo(printable(json.dumps(document, indent=2, ensure_ascii=False), keep="\n"))
