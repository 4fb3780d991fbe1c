"""The vision transformers of timm that a document can name, with their sizes. Imports neither torch nor timm.

`timm_models.json` is written by `docs/generators/timm_models.py`, from timm itself; a test compares them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from side4video.models.backbones.shape import Channels, TowerShape


@dataclass(frozen=True)
class TimmWeights:
    """Pretrained weights of an architecture."""

    tag: str
    """timm's name of them, such as `lvd142m`."""
    repository: str
    """On the Hugging Face hub."""
    image_size: int
    """Side of the frames that they were trained with, pixels."""
    mean: Channels
    std: Channels
    license: str
    """As timm says; empty if it says nothing."""


@dataclass(frozen=True)
class TimmModel:
    """An architecture of timm."""

    name: str
    shape: TowerShape
    """Of the architecture's own frame size, with the normalisation of its first weights."""
    weights: Mapping[str, TimmWeights]
    """By tag; the first one is timm's default."""


@cache
def timm_models() -> dict[str, TimmModel]:
    """By timm's name of the architecture."""
    return {name: _model(name, fields) for name, fields in _table()["models"].items()}


@cache
def refused_models() -> dict[str, str]:
    """Why other vision transformers of timm cannot be used, by name."""
    return dict(_table()["refused"])


def timm_version() -> str:
    """The version of timm that the table was made with."""
    return _table()["timm"]


@cache
def _table() -> dict[str, Any]:
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def _model(name: str, fields: Mapping[str, Any]) -> TimmModel:
    weights = {
        tag: TimmWeights(tag, each["hub"], each["size"], tuple(each["mean"]), tuple(each["std"]), each["license"])
        for tag, each in fields["weights"].items()
    }
    first = next(iter(weights.values()))
    shape = TowerShape(**fields["shape"], mean=first.mean, std=first.std, quick_gelu=False, plain_attention=False)
    return TimmModel(name, shape, weights)
