"""`side4video.runs`: the runs of a store as a table."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from side4video.core.arguments import check_number, check_text
from side4video.core.errors import InputError
from side4video.reports.stored_sweep import find_run_or_sweep, is_sweep_run
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.stores import store_at
from side4video.tracking.tags import ARM_TAG, DIGEST_TAG, ROWS_TAG, RUN_KIND_TAG, STATE_TAG, SWEEP_KIND, SWEEP_TAG

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run_id", "name", "state", "started", "seconds", "sweep", "arm")
"""What is known of each run; metrics and parameters follow."""


def runs(*, name: str = "", sweep: str = "", uri: str = "", limit: int = 50_000) -> "pd.DataFrame":
    """The runs of a store as a table, one row per run, newest first.

    Columns:
        run_id, name: As `side4video.load` and the commands take them.
        state: `finished`, `training`, `stopped`, `diverged`, `interrupted` or `failed`.
        started, seconds: Time of the start (UTC), and how long it took; missing while it runs.
        sweep, arm: Name of the sweep and label of the arm, for an arm of a sweep; else empty.
        eval/top1, memory/peak_gib, ...: The newest value of each metric. Fractions are fractions, memory is in GiB.
        method.dim, optimization.learning_rate, ...: The fields of the document. Numbers are numbers.

    A run that lacks a metric or a field has NaN or None there. The run of a sweep itself is no row.

    Args:
        name: Only runs of this name.
        sweep: Only the arms of this sweep, by its name (the newest) or the id of its run; each arm's newest run.
        uri: An MLflow address, or the folder of a store of files. By default `MLFLOW_TRACKING_URI`, or the local
            store.
        limit: At most so many runs.

    Raises:
        InputError: The store cannot be reached, there is no such sweep, or an argument is of another type.
    """
    for argument, value in {"name": name, "sweep": sweep}.items():
        check_text(argument, value, allowed="the name of a run or a sweep", fix="leave it out for all runs")
    check_number("limit", limit, least=1, whole=True)
    store = store_at(uri).prepare()
    if sweep:
        found = [run for run in _arms(store, sweep) if not name or run.name == name]
    else:
        found = store.runs(name=name, with_tags=(DIGEST_TAG,), all_experiments=True, limit=limit)
    names = {
        run.tags.get(SWEEP_TAG, ""): run.name
        for run in store.runs(tags={RUN_KIND_TAG: SWEEP_KIND}, all_experiments=True)
    }
    return as_table(found[:limit], sweeps=names)


def as_table(runs: Sequence[StoredRun], *, sweeps: Mapping[str, str]) -> "pd.DataFrame":
    """Stored runs as the table of `side4video.runs`; `sweeps` are names of sweeps, by their key."""
    import pandas as pd

    metrics = sorted({name for run in runs for name in run.metrics})
    fields = sorted({name for run in runs for name in run.params} - {*COLUMNS, *metrics})
    rows = [
        [
            run.run_id,
            run.name,
            run.tags.get(STATE_TAG) or run.status.lower(),
            pd.Timestamp(run.start_ms, unit="ms", tz="UTC"),
            (run.end_ms - run.start_ms) / 1000 if run.end_ms else float("nan"),
            sweeps.get(run.tags.get(SWEEP_TAG, ""), ""),
            run.tags.get(ROWS_TAG, ""),
            *(run.metrics.get(name, float("nan")) for name in metrics),
            *(_value(run.params.get(name)) for name in fields),
        ]
        for run in runs
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *metrics, *fields])
    if not rows:
        table = table.astype({"started": "datetime64[ms, UTC]", "seconds": "float64"})
    return table


def _arms(store: RunStore, sweep: str) -> list[StoredRun]:
    run = find_run_or_sweep(store, sweep)
    if not is_sweep_run(run):
        raise InputError(sweep, f"the run {run.name} is not of a sweep", fix=f"side4video.runs(name={run.name!r})")
    arms: dict[str, StoredRun] = {}
    tags = {SWEEP_TAG: run.tags[SWEEP_TAG]}
    for arm in store.runs(tags=tags, with_tags=(DIGEST_TAG,), all_experiments=True):
        arms.setdefault(arm.tags.get(ARM_TAG) or arm.tags[DIGEST_TAG], arm)
    return list(arms.values())


def _value(text: str | None) -> Any:
    """A stored field: numbers, booleans and null as such, all else as its text."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, int | float) else text
