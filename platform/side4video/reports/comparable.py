"""Checks whether stored runs may be compared in one table: their data and evaluation settings must agree.

A run stores its resolved spec as parameters, the fingerprint of its data as a tag, and the number of readable test
videos as a metric. So runs of any origin can be checked: single runs, arms of sweeps, and copied results.
"""

from collections.abc import Collection, Mapping, Sequence

from side4video.core.dotted import below
from side4video.core.errors import InputError
from side4video.spec.load import SpecError
from side4video.spec.protocol import (
    DATASET,
    NOT_RECORDED,
    VIDEOS,
    ComparedResult,
    Difference,
    comparison_errors,
    find_dataset_differences,
    find_differences,
)
from side4video.tracking.run_store import StoredRun
from side4video.tracking.tags import FINGERPRINT_TAG, STATE_TAG

MEASURED = frozenset({"finished", "stopped"})
"""States of runs whose metrics are shown in tables."""
_FINGERPRINT_CHARACTERS = 12
"""Characters of a fingerprint in messages."""


def check_runs(
    compared: Sequence[ComparedResult],
    *,
    where: str,
    metrics: Collection[str] = (),
    anyway: Collection[str] = (),
    fix: str,
) -> list[Difference]:
    """Check that results are comparable; return the differences that are columns or allowed.

    Results may differ without a column in the fields of `anyway`. `fix` is the fix in the error message, with `{field}`
    for the field's name.

    Raises:
        InputError: If they differ in other fields; one line for each.
    """
    found = find_differences(_with_the_same_facts(compared), metrics=metrics)
    problems = comparison_errors(found, where=where, anyway=anyway, fix=lambda each: fix.format(field=each.field))
    if problems:
        documents = [each.field for each in find_dataset_differences(compared)]
        raise SpecError([_with_specs(problem, documents) for problem in problems])
    return found


def as_compared(run: StoredRun, *, label: str = "", shown: Mapping[str, str] | None = None) -> ComparedResult:
    """A stored run as an entry of `check_runs`.

    Without a label, it is called by its name and the start of its id. `shown` has the values of the table's columns, by
    dotted name.
    """
    fingerprint = run.tags.get(FINGERPRINT_TAG, "")
    recorded = {DATASET: f"fingerprint {fingerprint[:_FINGERPRINT_CHARACTERS]}" if fingerprint else NOT_RECORDED}
    if VIDEOS in run.metrics:
        recorded[VIDEOS] = f"{run.metrics[VIDEOS]:.0f}"
    return ComparedResult(label or f"{run.name} ({run.run_id[:8]})", run.params, recorded, shown or {})


def shown_of(run: StoredRun, paths: Collection[str]) -> dict[str, str]:
    """The run's parameters at and below dotted names."""
    return {name: text for path in paths for name, text in below(run.params, path).items()}


def has_figures(run: StoredRun) -> bool:
    """Whether tables show the run's metrics: not if it failed or diverged."""
    return run.tags.get(STATE_TAG) in MEASURED


def _with_the_same_facts(compared: Sequence[ComparedResult]) -> list[ComparedResult]:
    """Drop the number of videos unless all runs have it, because a missing number is no difference."""
    if all(VIDEOS in each.recorded for each in compared):
        return list(compared)
    return [
        ComparedResult(each.label, each.fields, {k: v for k, v in each.recorded.items() if k != VIDEOS}, each.shown)
        for each in compared
    ]


def _with_specs(problem: InputError, fields: Sequence[str]) -> InputError:
    """The error of a fingerprint, with the differing fields that may be the reason."""
    if not fields or not problem.where.endswith(f": {DATASET}"):
        return problem
    found = f"{problem.found} (their documents differ in {', '.join(fields)})"
    return InputError(problem.where, found, allowed=problem.allowed, fix=problem.fix)
