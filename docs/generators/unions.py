"""Tables of what may stand in a document: the members of a union, each with what it says of itself."""

from typing import Any

from generators.annotations import kind_of, specs_in
from side4video.data.datasets import Dataset
from side4video.models.backbones import Backbone
from side4video.models.method import MethodSpec
from side4video.models.methods import Method
from side4video.tasks import Task

UNIONS: dict[str, tuple[Any, str]] = {
    "methods": (Method, "method"),
    "backbones": (Backbone, "backbone"),
    "datasets": (Dataset, "data-dataset"),
    "tasks": (Task, "task"),
}
"""By the word of `side4video list`: the union, and the beginning of its members' addresses in the reference."""


def kinds_table(what: str) -> str:
    """A row a member, with the address of its fields."""
    union, place = UNIONS[what]
    members = specs_in(union)
    are_methods = issubclass(members[0], MethodSpec)
    heads = ["kind", "what it is", *(["trains in a pack", "tasks"] if are_methods else [])]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for member in members:
        summary = (member.__doc__ or "").strip().splitlines()[0].rstrip(".")
        cells = [f"[`{kind_of(member)}`](#spec-{place}-{kind_of(member)})", summary]
        if issubclass(member, MethodSpec):
            cells += ["yes" if member.packable else "alone", ", ".join(member.tasks)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
