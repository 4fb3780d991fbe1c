"""Table 9: ablations on Something-Something V1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
