"""Tables of a sweep in the form of published ones: other data sets; base, novel and harmonic mean; few clips.

`evaluate SWEEP --set data.classes=novel` and `evaluate SWEEP --on FILE` store the metrics that they read.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from side4video.core.errors import InputError
from side4video.reports.arms import spread
from side4video.reports.grid import Grid, GridColumn, GridRow
from side4video.reports.other_evaluations import BASE, METRIC, check_alike, evaluations, heading, part_notes, parts_of
from side4video.reports.paper_report import REPEATED
from side4video.runs.stored_run import expand_sweeps
from side4video.tasks.recognition.metrics import harmonic_mean
from side4video.tracking.run_store import RunStore, StoredRun

NOVEL, HARMONIC, OWN = "novel", "harmonic mean", "own data"
SHOTS = "data.shots"
ZERO_SHOT, BASE_TO_NOVEL, FEW_SHOT = "zero-shot", "base-to-novel", "few-shot"
_TITLES = {
    ZERO_SHOT: "Evaluations on other data",
    BASE_TO_NOVEL: "Base and novel classes",
    FEW_SHOT: "Few training clips of each class",
}
_MISSING = {
    ZERO_SHOT: (
        "none of its arms was evaluated on other data",
        "a sweep whose arms were evaluated with --on",
        "side4video evaluate {sweep} --on FILE",
    ),
    BASE_TO_NOVEL: (
        "none of its arms was evaluated on novel classes",
        "a sweep of arms on base classes that were evaluated on the novel ones",
        "side4video evaluate {sweep} --set data.classes=novel",
    ),
    FEW_SHOT: (
        "none of its arms was trained on some clips of each class",
        "a sweep of arms with data.shots",
        "grid: {{data.shots: [2, 4, 8, 16]}}",
    ),
}
"""By form: what was found, what is allowed, and the fix."""
_NAMED_SHOTS = re.compile(r"(, )?\b(data\.)?shots=\d+")
_SEED = re.compile(r"[\s,·:]*seed \d+$")


def transfer_grid(store: RunStore, sweep: str, form: str) -> Grid:
    """The table of a sweep: a row for each arm, its seeds as mean and sample standard deviation.

    `form` is the name of a published table. `zero-shot` has a column for each other data set; `base-to-novel` has base,
    novel and their harmonic mean; `few-shot` has a column for each number of clips of a class, which make one row.

    Raises:
        InputError: There is no such sweep, or no arm has figures of this form.
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
        ignored = (*REPEATED, SHOTS) if form == FEW_SHOT else REPEATED
        settings = sorted((key, value) for key, value in run.params.items() if not key.startswith(ignored))
        groups.setdefault(tuple(settings), []).append(run)
    parts = parts_of(map(evaluations, runs))
    read = _by_shots if form == FEW_SHOT else partial(_figures, parts=parts)
    figures = [(_label(members, sweep), _count_seeds(members), read(members)) for members in groups.values()]
    known = dict.fromkeys(name for _, _, each in figures for name in each)
    names = [name for name in known if _is_of(form, name)]
    if not names or (form == BASE_TO_NOVEL and NOVEL not in names):
        found, allowed, command = _MISSING[form]
        raise InputError(sweep, found, allowed=allowed, fix=command.format(sweep=sweep))
    names = sorted(names, key=int) if form == FEW_SHOT else sorted(names, key=_place)
    check_alike(store, sweep, runs, parts, shown=names)
    columns = (
        GridColumn("arm", is_number=False),
        GridColumn("seeds"),
        *(GridColumn(f"{name} clips" if form == FEW_SHOT else name, "%") for name in names),
    )
    rows = [
        GridRow(cells=(label, str(seeds), *(_text(found.get(name, []), seeds) for name in names)))
        for label, seeds, found in figures
        if any(name in found for name in names)
    ]
    notes = [f"Top-1 of {sweep}, mean ± sample standard deviation over seeds.", *part_notes(runs, parts, names)]
    return Grid(f"{_TITLES[form]}: {sweep}", columns, tuple(rows), tuple(notes), ())


def _is_of(form: str, name: str) -> bool:
    """Whether a column is one of the form."""
    halves = (BASE, OWN, NOVEL, HARMONIC)
    if form == ZERO_SHOT:
        return name not in halves
    return form == FEW_SHOT or name in (BASE, NOVEL, HARMONIC)


def _label(runs: Sequence[StoredRun], sweep: str) -> str:
    """The name of an arm; without its number of clips, if arms of several numbers are one row."""
    label = _SEED.sub("", runs[0].name).rpartition(": ")[2]
    if len({run.params.get(SHOTS) for run in runs}) > 1:
        label = _NAMED_SHOTS.sub("", label).strip(" ,") or sweep
    return label


def _count_seeds(runs: Sequence[StoredRun]) -> int:
    return len({run.params.get("seed", run.run_id) for run in runs})


def _by_shots(runs: Sequence[StoredRun]) -> Mapping[str, list[float]]:
    """The values of each number of training clips of a class, by that number."""
    found: dict[str, list[float]] = {}
    for run in runs:
        shots, value = run.params.get(SHOTS, ""), run.metrics.get(f"eval/{METRIC}")
        if shots.isdecimal() and value is not None:
            found.setdefault(shots, []).append(100 * value)
    return found


def _figures(runs: Sequence[StoredRun], parts: Mapping[str, list[str]]) -> Mapping[str, list[float]]:
    """The values of each column, one for each run that has all parts of it; these are averaged in each run."""
    columns: dict[str, list[float]] = {}
    for run in runs:
        own = run.metrics.get(f"eval/{METRIC}")
        is_base = run.params.get("data.classes") == BASE
        values = {BASE if is_base else OWN: own} if own is not None else {}
        for column, each in evaluations(run).items():
            if len(each) == len(parts[column]):
                values[heading(column, parts)] = fmean(each.values())
        if is_base and own is not None and NOVEL in values:
            values[HARMONIC] = harmonic_mean(own, values[NOVEL])
        for name, value in values.items():
            columns.setdefault(name, []).append(100 * value)
    return columns


def _place(name: str) -> tuple[int, str]:
    order = (BASE, OWN, NOVEL, HARMONIC)
    return (order.index(name) if name in order else len(order), name)


def _text(values: Sequence[float], seeds: int) -> str:
    """Mean and deviation; how many of the seeds have the figure, if not all."""
    if not values:
        return "–"
    of = spread(values)
    text = f"{of.mean:.1f} ± {of.deviation:.1f}" if of.count > 1 else f"{of.mean:.1f}"
    return text if of.count >= seeds else f"{text} ({of.count} of {seeds} seeds)"
