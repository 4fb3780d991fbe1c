"""Tables of the kinds that a section of a document can have, each with the first line of its docstring."""

from typing import Any

from generators.annotations import kind_of, specs_in
from side4video.data.datasets import Dataset
from side4video.models.backbones import Backbone
from side4video.models.method import MethodSpec
from side4video.models.methods import Method
from side4video.tasks import Task

UNIONS: dict[str, tuple[Any, str]] = {
    "methods": (Method, "method.md#spec-method"),
    "backbones": (Backbone, "backbone.md#spec-backbone"),
    "datasets": (Dataset, "data.md#spec-data-dataset"),
    "tasks": (Task, "task.md#spec-task"),
}
"""By the argument of `side4video list`: the union, and the beginning of its kinds' anchors in docs/reference."""


def kinds_table(what: str) -> str:
    """One row per kind, with a link to its fields, for a page in docs/."""
    union, place = UNIONS[what]
    members = specs_in(union)
    are_methods = issubclass(members[0], MethodSpec)
    heads = ["kind", "description", *(["trains in a pack", "tasks"] if are_methods else [])]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for member in members:
        summary = (member.__doc__ or "").strip().splitlines()[0].rstrip(".")
        cells = [f"[`{kind_of(member)}`](reference/{place}-{kind_of(member)})", summary]
        if issubclass(member, MethodSpec):
            cells += ["yes" if member.packable else "alone", ", ".join(member.tasks)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
