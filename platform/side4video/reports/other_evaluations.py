"""Evaluations of a sweep's runs on other classes and data, as runs store them: which may be averaged, and which not."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from side4video.core.errors import InputError
from side4video.data.annotations.fingerprint import short_fingerprint
from side4video.data.selection import DIVIDER
from side4video.tasks.metrics import ON
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text

METRIC = "top1"
BASE = "base"
"""The column of the run's own figure, if it was trained on base classes."""


def evaluations(run: StoredRun) -> dict[str, dict[str, float]]:
    """Top-1 of each stored evaluation by column and part; the part of a whole figure is empty.

    Parts `hmdb51/1` and `hmdb51/2` make the column `hmdb51/*`, as a whole `hmdb51` is another figure.
    """
    found: dict[str, dict[str, float]] = {}
    for key, value in sorted(run.metrics.items()):
        if key.startswith(f"{ON}/") and key.endswith(f"/{METRIC}"):
            group, slash, part = key.removeprefix(f"{ON}/").removesuffix(f"/{METRIC}").partition("/")
            found.setdefault(f"{group}/*" if slash else group, {})[part] = value
    return found


def parts_of(found: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, list[str]]:
    """The parts of each column: all that some run has."""
    parts: dict[str, set[str]] = {}
    for each in found:
        for column, values in each.items():
            parts.setdefault(column, set()).update(values)
    return {column: sorted(names) for column, names in parts.items()}


def heading(column: str, parts: Mapping[str, list[str]]) -> str:
    """The heading of a column: without the star, unless there is a whole figure of the name beside."""
    group = column.removesuffix("/*")
    if column != group and group in parts:
        return column
    return f"{ON}/{group}" if group == BASE else group


def part_notes(runs: Sequence[StoredRun], parts: Mapping[str, list[str]], shown: Collection[str]) -> list[str]:
    """Which runs lack parts of columns with the headings `shown`, so that a mean of theirs would be another figure."""
    notes, found = [], {run.run_id: evaluations(run) for run in runs}
    for column, names in parts.items():
        lacking = [
            f"{run.name} ({', '.join(found[run.run_id][column])})"
            for run in runs
            if 0 < len(found[run.run_id].get(column, {})) < len(names)
        ]
        if lacking and heading(column, parts) in shown:
            mean = f"{heading(column, parts)} is the mean of the parts {', '.join(names)}."
            notes.append(f"{mean} Without all: {'; '.join(lacking)}.")
    return notes


def check_alike(
    store: RunStore, sweep: str, runs: Sequence[StoredRun], parts: Mapping[str, list[str]], *, shown: Collection[str]
) -> None:
    """Refuse evaluations of one name on unlike data or of unlike weights, which have no mean.

    Only columns with the headings `shown` are looked at.

    Raises:
        InputError: Two runs have such; name and difference are told.
    """
    first: dict[str, tuple[str, Mapping[str, str]]] = {}
    for run in runs:
        for column, values in evaluations(run).items():
            for part in values if heading(column, parts) in shown else ():
                name = column.replace("*", part)
                now = _conditions(store, run, name)
                if not now:
                    continue
                other, was = first.setdefault(name, (run.name, now))
                differing = [f"{key} {was[key]} and {now[key]}" for key in now if was[key] != now[key]]
                if differing:
                    raise InputError(
                        f"{ON}/{name}",
                        f"{other} and {run.name} were evaluated on unlike things: {', '.join(differing)}",
                        allowed="the same data, split, views and share of the trained weights for all arms",
                        fix=f"evaluate all arms in one call: side4video evaluate {sweep} ... --as {name}",
                    )


def _conditions(store: RunStore, run: StoredRun, name: str) -> dict[str, str]:
    """What two evaluations of a name must have in common; empty if it is not known."""
    document = json.loads(artifact_text(store, run.run_id, f"evaluations/{name}.json", default="{}"))
    if not document:
        return {}
    whole, _, selection = str(document.get("dataset_fingerprint", "")).partition(DIVIDER)
    return {
        "data": short_fingerprint(f"{whole}{DIVIDER}{selection.partition(',')[0]}".removesuffix(DIVIDER)),
        "split": str(document.get("split", "test")),
        "trained share": f"{document.get('trained_share', 1):g}",
        "views": str(document.get("views", 1)),
    }
