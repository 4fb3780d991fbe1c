"""A sweep read back from the store: its document, its rows, and what its arms measured."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.reports.collect import collect_rows, comparability
from side4video.reports.rows import ArmRow
from side4video.spec.arms import Row, Sweep, build_sweep
from side4video.spec.sweep import SweepSpec
from side4video.tracking.search import StoredRun, quoted
from side4video.tracking.store import Store
from side4video.tracking.sweep_record import ROWS_TAG, SWEEP_TAG, SweepRecord

KIND_TAG = "side4video.kind"
DOCUMENT = "sweep.json"
_SWEEPS = f"tags.`{KIND_TAG}` = 'sweep'"


def read_sweep(store: Store, name: str) -> tuple[Sweep, SweepRecord]:
    """The sweep with this name or id, newest first; its arms need not have run.

    Raises:
        InputError: There is no such run, it is no sweep's, or its document cannot be read any more.
    """
    run = _find(store, name)
    with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
        document = json.loads(Path(store.download(run.run_id, DOCUMENT, folder)).read_text(encoding="utf-8"))
    spec = SweepSpec.model_validate({**document["sweep"], "base": document["base"]})
    sweep = build_sweep(spec, document["base"], f"sweep {run.name} ({run.run_id[:8]})")
    return sweep, SweepRecord(store, run.run_id, run.tags[SWEEP_TAG])


def stored_rows(sweep: Sweep, record: SweepRecord) -> tuple[list[ArmRow], list[str]]:
    """What its arms measured, and sentences about differences that its document allows.

    Raises:
        InputError: Arms saw other data or were measured in another way, and no column says so.
    """
    rows = sweep.rows or _proposed(record)
    told = comparability(record, sweep.spec, rows)
    return collect_rows(record, sweep.spec, rows), told


def find_run_or_sweep(store: Store, name: str) -> StoredRun:
    """The newest sweep of this name, or else the run with this id, the beginning of one, or this name.

    Raises:
        InputError: There is neither.
    """
    named = store.runs_anywhere(f"{_SWEEPS} and attributes.run_name = {quoted(name)}", limit=1)
    return named[0] if named else store.find(name)


def is_sweep_run(run: StoredRun) -> bool:
    """Whether a run of the store is a sweep's."""
    return run.tags.get(KIND_TAG) == "sweep"


def _find(store: Store, name: str) -> StoredRun:
    run = find_run_or_sweep(store, name)
    if not is_sweep_run(run):
        known = [each.name for each in store.runs_anywhere(_SWEEPS, limit=50)]
        allowed = ", ".join(dict.fromkeys(known)) or "the store has no sweep yet"
        raise InputError(name, f"the run {run.name} is no sweep's", allowed=allowed)
    return run


def _proposed(record: SweepRecord) -> Sequence[Row]:
    """The rows that Optuna proposed: one for each arm in the store, with its own document."""
    from side4video.spec.load import parse_experiment

    rows = []
    for run in record.children().values():
        with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
            document: dict[str, Any] = json.loads(
                Path(record.store.download(run.run_id, "spec.json", folder)).read_text(encoding="utf-8")
            )
        experiment = parse_experiment(document, source=f"run {run.run_id[:8]}")
        label = run.tags.get(ROWS_TAG, run.name).partition(" | ")[0]
        rows.append(Row("", label, {}, experiment.seed, experiment))
    return sorted(rows, key=lambda row: row.label)
