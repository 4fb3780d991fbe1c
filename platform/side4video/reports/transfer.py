"""A table of a sweep whose arms were evaluated on other classes or data: base, novel, harmonic mean, and each data set.

`evaluate SWEEP --set data.classes=novel` and `evaluate SWEEP --on FILE` store the metrics that it reads.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from side4video.core.errors import InputError
from side4video.reports.arms import spread
from side4video.reports.grid import Grid, GridColumn, GridRow
from side4video.reports.paper_report import REPEATED
from side4video.runs.stored_run import expand_sweeps
from side4video.tasks.metrics import ON
from side4video.tasks.recognition.metrics import harmonic_mean
from side4video.tracking.run_store import RunStore, StoredRun

METRIC = "top1"
BASE, NOVEL, HARMONIC = "base", "novel", "harmonic mean"
_SEED = re.compile(r"[\s,·:]*seed \d+$")


def transfer_grid(store: RunStore, sweep: str) -> Grid:
    """The table of a sweep: a row for each arm, its seeds as mean and sample standard deviation.

    Raises:
        InputError: There is no such sweep, or no arm was evaluated on other data.
    """
    arms = expand_sweeps(store, [sweep])
    if arms == [sweep]:
        raise InputError(
            "--sweep",
            f"{sweep} is no sweep of this store",
            allowed="the name or the id of a sweep",
            fix="see the names of sweeps: side4video ui",
        )
    runs = [store.get(run_id) for run_id in arms]
    groups: dict[tuple[object, ...], list[StoredRun]] = {}
    for run in runs:
        settings = sorted((key, value) for key, value in run.params.items() if not key.startswith(REPEATED))
        groups.setdefault(tuple(settings), []).append(run)
    figures = {_label(members): _figures(members) for members in groups.values()}
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    if len(names) < 2:
        raise InputError(
            sweep,
            "none of its arms was evaluated on other classes or data",
            allowed="a sweep whose arms were evaluated",
            fix=f"side4video evaluate {sweep} --set data.classes=novel, or --on FILE",
        )
    columns = (
        GridColumn("arm", is_number=False),
        GridColumn("seeds"),
        *(GridColumn(name, "%") for name in names),
    )
    rows = [
        GridRow(cells=(label, str(len(members)), *(_text(found.get(name, [])) for name in names)))
        for (label, found), members in zip(figures.items(), groups.values(), strict=True)
    ]
    notes = (f"Top-1 of {sweep}, mean ± sample standard deviation over seeds.",)
    return Grid(f"Evaluations on other classes and data: {sweep}", columns, tuple(rows), notes, ())


def _label(runs: Sequence[StoredRun]) -> str:
    return _SEED.sub("", runs[0].name).rpartition(": ")[2]


def _figures(runs: Sequence[StoredRun]) -> Mapping[str, list[float]]:
    """The values of each column, one for each run that has it; parts of a figure are averaged in each run."""
    found: dict[str, list[float]] = {}
    for run in runs:
        parts: dict[str, list[float]] = {}
        for key, value in sorted(run.metrics.items()):
            if key.startswith(f"{ON}/") and key.endswith(f"/{METRIC}"):
                group = key.removeprefix(f"{ON}/").removesuffix(f"/{METRIC}").partition("/")[0]
                parts.setdefault(group, []).append(value)
        own = run.metrics.get(f"eval/{METRIC}")
        is_base = run.params.get("data.classes") == BASE
        values = {BASE if is_base else "own data": own} if own is not None else {}
        values |= {group: fmean(each) for group, each in parts.items()}
        if is_base and own is not None and NOVEL in values:
            values[HARMONIC] = harmonic_mean(own, values[NOVEL])
        for name in sorted(values, key=_place):
            found.setdefault(name, []).append(100 * values[name])
    return found


def _place(name: str) -> tuple[int, str]:
    order = (BASE, "own data", NOVEL, HARMONIC)
    return (order.index(name) if name in order else len(order), name)


def _text(values: Sequence[float]) -> str:
    if not values:
        return "–"
    of = spread(values)
    return f"{of.mean:.1f} ± {of.deviation:.1f}" if of.count > 1 else f"{of.mean:.1f}"
