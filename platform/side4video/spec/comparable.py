"""Checks that the arms of a sweep can be compared in one table, before any of them runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from side4video.core.dotted import dotted, is_at_or_below
from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.protocol import (
    DATASET,
    VIDEOS,
    ComparedResult,
    Difference,
    comparison_errors,
    find_dataset_differences,
    find_differences,
    protocol,
)
from side4video.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from side4video.spec.arm import Arm


def incomparable_arms(
    spec: SweepSpec, base: Experiment, rows: "Sequence[Arm]", compared: Sequence[ComparedResult], *, source: str
) -> list[InputError]:
    """List the reasons why arms cannot be compared: different test clips, or different evaluation settings.

    `base` is the experiment that the arms change, `compared` what the columns of the arms' table say of each.

    Returns:
        An error for each field in which they differ, no column says so, and `compare_anyway` does not either; those of
        the data set before all others.
    """
    original = ComparedResult("the base", dotted(base.resolved()))
    # The proposals of Optuna are not known yet, and their data are prepared as for the base. So the base is compared
    # too.
    of_data = find_dataset_differences([*compared, original] if spec.optuna else compared)
    if of_data:
        return [
            InputError(
                f"{source}: {each.field}",
                f"{each}: arms have different data sets",
                allowed="one data set a sweep: results on several cannot be compared",
                fix="write a sweep for each",
            )
            for each in of_data
        ]
    known = [*protocol(original.fields, metrics=(spec.metric,)), DATASET, VIDEOS]
    unknown = [name for name in spec.compare_anyway if name not in known]
    if unknown:
        found = f"{unknown[0]!r} is no field of the protocol"
        return [InputError(f"{source}: compare_anyway", found, allowed=", ".join(known))]
    found = find_differences(compared, metrics=(spec.metric,))
    return comparison_errors(found, where=source, anyway=spec.compare_anyway, fix=lambda each: _suggest_fix(each, rows))


def _suggest_fix(difference: Difference, rows: "Sequence[Arm]") -> str:
    """The fix for one difference: make the field a column, or allow it.

    Names an override that changes it indirectly.
    """
    name = difference.field
    overrides = ((row.row_name, path) for row in rows for path in row.overrides)
    hidden = ((place, path) for place, path in overrides if path == "data.recipe" or is_at_or_below(name, path))
    through = next((f" ({place} changes it through {path})" for place, path in hidden), "")
    return f"give it in the arms' own overrides{through}, or say compare_anyway: [{name}]"
