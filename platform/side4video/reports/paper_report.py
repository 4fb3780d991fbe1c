"""A paper's table with our runs: the paper's values, ours, and the difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import fmean

from side4video.reports.arms import Spread, spread
from side4video.reports.comparable import as_compared, check_runs, shown_of
from side4video.reports.grid import PLANNED, Grid, GridColumn, GridRow
from side4video.reports.paper.table import PaperColumn, PaperRow, PaperTable
from side4video.spec.protocol import describe_differences
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.tags import FINGERPRINT_TAG, STATE_TAG

NOT_RUN = "not run"
MEASURED, PLANNED_ROW, QUOTED = "measured", "planned", "quoted"
_STATUS = (
    f"Status: {MEASURED}, a run of this store fills the row; {PLANNED_ROW}, the figures are the paper's, and a file of "
    f"experiments/ plans and trains it; {QUOTED}, the figures are the paper's, and there is no file."
)
SHOWN = ("data.frames", "data.views")
"""Fields that are columns of the tables, so runs may differ in them."""

REPEATED = ("seed", "name", "schema_version", "tracking.", "cluster.", "data.loader.", "data.seed", "arm/", "features.")
"""Parameters in which runs of one experiment may differ: seeds, and fields that change no result."""


@dataclass(frozen=True)
class ExperimentRuns:
    """The runs of one experiment."""

    name: str
    runs: tuple[StoredRun, ...]
    """One for each seed, newest first; empty if there is none."""
    others: int = 0
    """Number of finished runs of this name with other settings."""


def paper_grid(table: PaperTable, store: RunStore, *, anyway: Sequence[str] = ()) -> Grid:
    """The table with the results of its experiments in a store.

    All experiments of the store are searched. Runs may differ without a column in the fields `anyway` of the protocol.

    Raises:
        InputError: Runs of one data set differ in data or protocol; the message names the field, values and runs.
    """
    names = sorted({name for row in table.rows for name in row.experiments.values()})
    found = {name: find_runs(store, name) for name in names}
    differences = _check(table, found, anyway)
    columns = [GridColumn(each, is_number=False) for each in ("method", *table.details, "status")]
    for column in table.columns:
        parts = (("paper", column.unit), ("ours", ""), ("Δ", ""))
        columns += [GridColumn(heading, unit, group=column.heading) for heading, unit in parts]
    rows = [
        GridRow(
            cells=(
                row.method,
                *_padded(row.details, len(table.details)),
                status_of(row, found),
                *_cells(row, table, found),
            ),
            group=row.group,
            is_own=status_of(row, found) == MEASURED,
        )
        for row in table.rows
    ]
    return Grid(table.title, tuple(columns), tuple(rows), tuple(_notes(table, found, differences)), (_STATUS,))


def status_of(row: PaperRow, found: Mapping[str, ExperimentRuns]) -> str:
    """Where the figures of a row come from: `measured`, `planned` or `quoted`; `found` has the runs by experiment."""
    if not row.experiments:
        return QUOTED
    return MEASURED if any(found[name].runs for name in row.experiments.values()) else PLANNED_ROW


def find_runs(store: RunStore, name: str) -> ExperimentRuns:
    """Finished runs of an experiment by name that have the newest run's settings: the newest of each seed."""
    runs = [
        run
        for run in store.runs(name=name, tags={STATE_TAG: "finished"}, all_experiments=True)
        if not any(parameter.startswith("arm/") for parameter in run.params)  # arms of sweeps may have the same name
    ]
    if not runs:
        return ExperimentRuns(name, ())
    same = [run for run in runs if _settings(run) == _settings(runs[0])]
    by_seed: dict[str, StoredRun] = {}
    for run in same:
        by_seed.setdefault(run.params.get("seed", ""), run)
    return ExperimentRuns(name, tuple(by_seed.values()), len(runs) - len(same))


def _settings(run: StoredRun) -> tuple[object, ...]:
    settings = sorted((key, value) for key, value in run.params.items() if not key.startswith(REPEATED))
    return (*settings, run.tags.get(FINGERPRINT_TAG, ""))


def _check(table: PaperTable, found: Mapping[str, ExperimentRuns], anyway: Sequence[str]) -> list[str]:
    """Check that runs of one data set are comparable; return notes about allowed differences."""
    notes = []
    for dataset in dict.fromkeys(name for row in table.rows for name in row.experiments):
        names = [row.experiments[dataset] for row in table.rows if dataset in row.experiments]
        runs = [run for name in names for run in found[name].runs]
        if len(runs) < 2:
            continue
        metrics = [metric for column in table.columns if column.dataset in ("", dataset) for metric in column.metrics]
        compared = [as_compared(run, shown=shown_of(run, SHOWN)) for run in runs]
        fix = "leave some out, or allow it: --anyway {field}"
        differing = check_runs(compared, where=table.name, metrics=metrics, anyway=anyway, fix=fix)
        notes += describe_differences([each for each in differing if each.is_hidden])
    return notes


def _cells(row: PaperRow, table: PaperTable, found: Mapping[str, ExperimentRuns]) -> list[str]:
    cells = []
    for column in table.columns:
        paper = row.figures.get(column.key)
        name = _experiment_of(row, column)
        value, is_planned = _ours(found[name].runs, column) if name else (spread(()), False)
        form = f"{{:.{column.decimals}f}}"
        ours = _spread_text(value, form) + (PLANNED if is_planned and value.count else "")
        difference = f"{value.mean - paper:+.{column.decimals}f}" if value.count and paper is not None else ""
        cells += [form.format(paper) if paper is not None else "–", ours or (NOT_RUN if name else ""), difference]
    return cells


def _experiment_of(row: PaperRow, column: PaperColumn) -> str | None:
    """The experiment whose runs fill a cell: that of the column's data set, or the row's only one."""
    name = row.experiments.get(column.dataset) or row.experiments.get("")
    if name or column.dataset or len(row.experiments) != 1:
        return name
    return next(iter(row.experiments.values()))


def _values(run: StoredRun, metric: str) -> dict[str, float]:
    """A run's values of a metric by name; `*` stands for each part of a figure, such as the folds of a data set."""
    return {name: value for name, value in sorted(run.metrics.items()) if fnmatchcase(name, metric)}


def _ours(runs: Sequence[StoredRun], column: PaperColumn) -> tuple[Spread, bool]:
    """Our value in the paper's unit over seeds, and whether it is planned instead of measured.

    A figure with parts is their mean; of a single run, the deviation is that of the parts. Runs with fewer parts than
    others do not count: their mean is another figure.
    """
    for metric in column.metrics:
        found = [_values(run, metric) for run in runs]
        names = {name for each in found for name in each}
        parts = [
            [value * column.factor for value in each.values()]
            for each in found
            if "*" not in metric or len(each) == len(names)
        ]
        values = parts[0] if len(parts) == 1 else [fmean(each) for each in parts if each]
        if values and all(parts):
            return spread(values), metric.startswith("plan/peak")
    return spread(()), False


def _spread_text(value: Spread, form: str) -> str:
    if not value.count:
        return ""
    mean = form.format(value.mean)
    return f"{mean} ± {form.format(value.deviation)}" if value.count > 1 else mean


def _padded(cells: Sequence[str], width: int) -> tuple[str, ...]:
    return (*cells, *[""] * (width - len(cells)))


def _notes(table: PaperTable, found: Mapping[str, ExperimentRuns], differences: Sequence[str]) -> list[str]:
    notes = [*differences, *table.conventions]
    if any(len(each.runs) > 1 for each in found.values()):
        notes.append("Ours: mean ± sample standard deviation over seeds. Δ is ours less the paper's.")
    missing = [name for name, each in found.items() if not each.runs]
    if missing:
        notes.append(f"Not run here: {', '.join(missing)}; each is a file of experiments/.")
    for each in found.values():
        if each.others:
            notes.append(f"{each.name}: {each.others} finished runs with other settings than the newest are not used.")
    return notes
