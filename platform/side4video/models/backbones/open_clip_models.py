"""The models of open_clip that a document can name. Imports neither torch nor open_clip.

`open_clip_models.json` is written by `docs/generators/open_clip_models.py`, from open_clip; a test compares them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, Channels


@dataclass(frozen=True)
class OpenCLIPWeights:
    """Pretrained weights of a model."""

    tag: str
    """open_clip's name of them, such as `laion2b_s34b_b88k`."""
    repository: str
    """On the Hugging Face hub; empty if they lie elsewhere."""
    mean: Channels
    """Channel means that they were trained with."""
    std: Channels
    """Channel standard deviations that they were trained with."""


@dataclass(frozen=True)
class OpenCLIPModel:
    """A model of open_clip."""

    name: str
    weights: Mapping[str, OpenCLIPWeights]
    """By tag; only those that were trained with the model's activation."""
    without_texts: str
    """Why its text tower cannot be used; empty if it can."""

    def normalisation(self, tag: str = "") -> tuple[Channels, Channels]:
        """Means and standard deviations of the weights of a tag. Without a tag, those of the model's first weights.

        A model without weights has CLIP's.
        """
        found = self.weights.get(tag) or next(iter(self.weights.values()), None)
        return (found.mean, found.std) if found else (CLIP_MEAN, CLIP_STD)


@cache
def open_clip_models() -> dict[str, OpenCLIPModel]:
    """By open_clip's name."""
    return {name: _model(name, fields) for name, fields in _table()["models"].items()}


@cache
def refused_models() -> dict[str, str]:
    """Why other models of open_clip cannot be used, by name."""
    return dict(_table()["refused"])


def open_clip_version() -> str:
    """The version of open_clip that the table was made with."""
    return _table()["open_clip"]


@cache
def read_config(model: str) -> dict[str, Any]:
    """open_clip's configuration of a model, read without importing open_clip, which takes seconds.

    Raises:
        InputError: open_clip is not installed, or does not know the model.
    """
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise InputError("backbone.kind", "open_clip is not installed", fix="pip install open_clip_torch")
    path = Path(package.origin).parent / "model_configs" / f"{model}.json"
    if not path.is_file():
        raise InputError(
            "backbone.model", f"the installed open_clip does not know {model}", fix="upgrade open_clip_torch"
        )
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def _table() -> dict[str, Any]:
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def _model(name: str, fields: Mapping[str, Any]) -> OpenCLIPModel:
    weights = {
        tag: OpenCLIPWeights(tag, each["hub"], tuple(each["mean"]), tuple(each["std"]))
        for tag, each in fields["weights"].items()
    }
    return OpenCLIPModel(name, weights, fields["without_texts"])
