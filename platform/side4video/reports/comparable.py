"""Whether results that were recorded may stand in one table: what their runs say of data and protocol.

A run carries its resolved document as parameters, the fingerprint of its data as a tag and the number of test videos it
could read as a metric; so this holds for runs of any origin: a sweep's, one by one, taken over from elsewhere.
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
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.tags import FINGERPRINT_TAG, STATE_TAG

MEASURED = frozenset({"finished", "stopped"})
"""States of a run whose figures stand in a table."""
_CHARACTERS = 12
"""Of a fingerprint, in a message."""


def comparable_runs(
    store: RunStore,
    names: Sequence[str],
    *,
    metrics: Collection[str] = (),
    shown: Collection[str] = (),
    anyway: Collection[str] = (),
    fix: str = "leave some out, or allow it: anyway=['{field}']",
) -> tuple[list[StoredRun], list[Difference]]:
    """Runs of a store that may stand in one table, and what they differ in all the same.

    Args:
        store: Where they are.
        names: Their ids, the beginnings of them, or names.
        metrics: What is compared of them; some metrics depend on more of the document.
        shown: Dotted names of the fields that the table has columns of.
        anyway: Fields in which they may differ although no column says so; the table is to say it (`sentences`).
        fix: What to do about a difference, its name for `{field}`.

    Raises:
        InputError: If there is no such run, or two differ in another field; it names the field, values and runs.
    """
    runs = [store.find(name) for name in names]
    compared = [as_compared(run, shown=shown_of(run, shown)) for run in runs]
    return runs, check_runs(compared, where="runs", metrics=metrics, anyway=anyway, fix=fix)


def check_runs(
    compared: Sequence[ComparedResult],
    *,
    where: str,
    metrics: Collection[str] = (),
    anyway: Collection[str] = (),
    fix: str,
) -> list[Difference]:
    """What results of one table differ in: in columns of it, or as somebody allowed.

    Args:
        compared: The results, see `as_compared`.
        where: The table, for errors.
        metrics: What is compared of them.
        anyway: Fields in which they may differ although no column says so.
        fix: What to do about a difference, its name for `{field}`.

    Raises:
        InputError: If they differ in anything else; a line for each field.
    """
    found = find_differences(_with_the_same_facts(compared), metrics=metrics)
    problems = comparison_errors(found, where=where, anyway=anyway, fix=lambda each: fix.format(field=each.field))
    if problems:
        documents = [each.field for each in find_dataset_differences(compared)]
        raise SpecError([_with_documents(problem, documents) for problem in problems])
    return found


def as_compared(run: StoredRun, *, label: str = "", shown: Mapping[str, str] | None = None) -> ComparedResult:
    """A recorded run as what is to stand in a table.

    Args:
        run: The run.
        label: What the table calls it; else its name and the beginning of its id.
        shown: What the table's columns say of it, by dotted name.
    """
    fingerprint = run.tags.get(FINGERPRINT_TAG, "")
    recorded = {DATASET: f"fingerprint {fingerprint[:_CHARACTERS]}" if fingerprint else NOT_RECORDED}
    if VIDEOS in run.metrics:
        recorded[VIDEOS] = f"{run.metrics[VIDEOS]:.0f}"
    return ComparedResult(label or f"{run.name} ({run.run_id[:8]})", run.params, recorded, shown or {})


def shown_of(run: StoredRun, paths: Collection[str]) -> dict[str, str]:
    """What columns about these dotted names say of a run: its parameters at and below them."""
    return {name: text for path in paths for name, text in below(run.params, path).items()}


def has_figures(run: StoredRun) -> bool:
    """Whether a run's figures stand in a table; of one that failed or diverged, nothing does."""
    return run.tags.get(STATE_TAG) in MEASURED


def _with_the_same_facts(compared: Sequence[ComparedResult]) -> list[ComparedResult]:
    """The number of videos counts where all say it: a run without it says nothing else than one with it."""
    if all(VIDEOS in each.recorded for each in compared):
        return list(compared)
    return [
        ComparedResult(each.label, each.fields, {k: v for k, v in each.recorded.items() if k != VIDEOS}, each.shown)
        for each in compared
    ]


def _with_documents(problem: InputError, fields: Sequence[str]) -> InputError:
    """The error of a fingerprint, with the fields of the documents that may be the reason."""
    if not fields or not problem.where.endswith(f": {DATASET}"):
        return problem
    found = f"{problem.found} (their documents differ in {', '.join(fields)})"
    return InputError(problem.where, found, allowed=problem.allowed, fix=problem.fix)
