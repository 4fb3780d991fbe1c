"""Where pretrained weights are: on the Hugging Face hub, and of torchvision's networks on its server."""

from collections.abc import Iterator
from dataclasses import dataclass

from side4video.models.backbones import blip
from side4video.models.backbones.clip_models import CLIP_MODELS
from side4video.models.backbones.open_clip_models import open_clip_models
from side4video.models.backbones.timm_models import timm_models

_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_LIBRARY_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights of a model."""

    model: str
    """The library's name of the model. No two libraries share one."""
    tag: str
    """The library's name of the weights."""
    repository: str
    """On the Hugging Face hub; empty if they are torchvision's."""
    file_names: tuple[str, ...]
    """Names of the file, the preferred one first."""

    @property
    def is_torchvisions(self) -> bool:
        """Whether torchvision has them, on a server of its own."""
        return not self.repository


def find_pretrained(model: str, tag: str) -> Pretrained | None:
    """The weights of a model by their tag; None if there are none."""
    return next((each for each in _of(model) if each.tag == tag), None)


def tags_of(model: str) -> tuple[str, ...]:
    """The tags of a model's weights."""
    return tuple(each.tag for each in _of(model))


def all_pretrained() -> Iterator[Pretrained]:
    """Weights of all models, those of open_clip first, those of clip towers last."""
    for model in (*open_clip_models(), *timm_models(), blip.MODEL, *CLIP_MODELS):
        yield from _of(model)


def _of(model: str) -> Iterator[Pretrained]:
    if model in open_clip_models():
        for each in open_clip_models()[model].weights.values():
            yield Pretrained(model, each.tag, each.repository, _OPEN_CLIP_FILES)
    elif model in timm_models():
        for each in timm_models()[model].weights.values():
            yield Pretrained(model, each.tag, each.repository, _LIBRARY_FILES)
    elif model in CLIP_MODELS:
        for each in CLIP_MODELS[model].weights.values():
            yield Pretrained(model, each.tag, each.repository, (each.file,) if each.file else _LIBRARY_FILES)
    elif model == blip.MODEL:
        for tag, repository in blip.REPOSITORIES.items():
            yield Pretrained(model, tag, repository, _LIBRARY_FILES)
