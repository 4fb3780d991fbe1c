"""Table 9 of the paper from sweeps of any base experiment. Each part varies one field.

A table of a sweep belongs to the part whose field varies in it, if none of the other five fields does. Values that the
paper did not try have rows without the paper's numbers; values that no sweep tried have rows without ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from side4video.core.dotted import dotted
from side4video.reports.arms import ArmResult, exact_text
from side4video.spec.arm import Arm, Sweep


@dataclass(frozen=True)
class PaperSetting:
    """A row of a part."""

    label: str
    """The paper's name."""
    value: Any
    """The value of the field in a spec."""
    figures: Mapping[str, float]
    """`top1` (a fraction) and `memory_gb`."""


@dataclass(frozen=True)
class PaperPart:
    """A part of the table: one field, and the values that the paper tried."""

    name: str
    title: str
    field: str
    """The field that varies."""
    settings: tuple[PaperSetting, ...]


def _setting(label: str, value: Any, top1: float, memory: float | None = None) -> PaperSetting:
    return PaperSetting(label, value, {"top1": round(top1 / 100, 4), **({"memory_gb": memory} if memory else {})})


TABLE_9 = (
    PaperPart(
        "9a",
        "fusion layers (ViT-E/14)",
        "method.fusion",
        (_setting("top", "top", 64.0), _setting("interval", "interval", 64.7)),
    ),
    PaperPart(
        "9b",
        "temporal modules",
        "method.temporal",
        (_setting("attention", "attention", 57.9, 20.4), _setting("3D conv", "conv", 58.5, 18.8)),
    ),
    PaperPart(
        "9c",
        "[CLS] token shift",
        "method.cls_shift",
        (
            _setting("no shift", value=False, top1=57.9, memory=18.8),
            _setting("shift", value=True, top1=58.5, memory=18.8),
        ),
    ),
    PaperPart(
        "9d",
        "final representation",
        "method.representation",
        (
            _setting("ViT [CLS]", "vit-cls", 54.7, 19.2),
            _setting("extra [CLS]", "extra-cls", 53.4, 19.3),
            _setting("GAP", "gap", 58.5, 18.8),
        ),
    ),
    PaperPart(
        "9e",
        "Side4Video layers",
        "method.layers",
        (
            _setting("4 layers", 4, 54.9, 8.4),
            _setting("6 layers", 6, 56.9, 11.0),
            _setting("12 layers", 12, 58.5, 18.8),
        ),
    ),
    PaperPart(
        "9f",
        "dimension",
        "method.dim",
        (
            _setting("dim 128", 128, 56.7, 11.3),
            _setting("dim 320", 320, 58.5, 18.8),
            _setting("dim 512", 512, 57.8, 26.5),
        ),
    ),
)
"""The paper's figures are of ViT-B/16 (9a: ViT-E/14) with 8 frames, one view, on Something-Something V1."""
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

    Each sweep comes with the results of its arms. If two tried the same value, the first counts.
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
