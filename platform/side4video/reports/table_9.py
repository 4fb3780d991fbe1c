"""Table 9 of the paper from sweeps of any base experiment. Each part varies one field.

A table of a sweep belongs to the part whose field varies in it, if none of the other five fields does. Values that the
paper did not try have rows without the paper's numbers; values that no sweep tried have rows without ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from side4video.core.dotted import dotted
from side4video.reports.arms import ArmResult, exact_text
from side4video.reports.paper.ablations import TABLE_9, PaperPart
from side4video.spec.arm import Arm, Sweep

TITLE = "Table 9: ablations"
NOTE = (
    "Paper: ViT-B/16 (9a: ViT-E/14), 8 frames, one view, Something-Something V1; memory on an A100. Its figures are "
    "beside ours for the direction of an effect; only the same data and backbone make the same numbers."
)
FIELDS = tuple(part.field for part in TABLE_9)
COMMON = {
    "fusion": "interval",
    "temporal": "conv",
    "cls_shift": "true",
    "representation": "gap",
    "layers": "12",
    "dim": "320",
}
"""The settings that are common to all parts of the paper's table."""


def table_9_rows(sweeps: Iterable[tuple[Sweep, Sequence[ArmResult]]]) -> list[ArmResult]:
    """The rows of all six parts in the paper's order, with those that no sweep ran.

    Args:
        sweeps: Each sweep with the results of its arms. If two tried the same value, the first counts.
    """
    found: dict[str, dict[str, ArmResult]] = {part.name: {} for part in TABLE_9}
    for sweep, measured in sweeps:
        by_row = {(row.table, row.label): row for row in measured}
        for table in dict.fromkeys(row.table for row in sweep.rows):
            rows = [row for row in sweep.rows if row.table == table and not row.repeat]
            part = part_of(rows)
            if part is None:
                continue
            for row in rows:
                arm = by_row.get((row.table, row.label))
                if arm is not None:
                    value = _value(row, part)
                    found[part.name].setdefault(value, replace(arm, table=part.name, swept=_swept(row)))
    return [row for part in TABLE_9 for row in _rows_of(part, found[part.name])]


def part_of(rows: Sequence[Arm]) -> PaperPart | None:
    """The part whose field varies in these rows; None if no field or several fields vary."""
    documents = [dotted(row.experiment.resolved()) for row in rows]
    varying = [field for field in FIELDS if len({str(document.get(field)) for document in documents}) > 1]
    return next((part for part in TABLE_9 if varying == [part.field]), None)


def _rows_of(part: PaperPart, found: dict[str, ArmResult]) -> list[ArmResult]:
    """The paper's rows in its order, then our further rows."""
    rows = []
    for setting in part.settings:
        arm = found.pop(exact_text(setting.value), None)
        paper_only = ArmResult(part.name, setting.label, {**COMMON, _short(part.field): exact_text(setting.value)}, ())
        rows.append(replace(arm or paper_only, label=setting.label, paper=dict(setting.figures)))
    return [*rows, *(replace(arm, paper={}) for arm in found.values())]


def _value(row: Arm, part: PaperPart) -> str:
    return dotted(row.experiment.resolved()).get(part.field, "none")


def _swept(row: Arm) -> dict[str, str]:
    document = dotted(row.experiment.resolved())
    return {_short(field): document.get(field, "none") for field in FIELDS}


def _short(field: str) -> str:
    return field.rpartition(".")[2]
