"""The networks of transformers and torchvision that read whole clips, with their sizes. Imports neither.

Sources: the configurations of the checkpoints on the Hugging Face hub, and `torchvision.models.video`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from side4video.models.backbones.clip_sizes import SwinSizes, TransformerSizes
from side4video.models.backbones.shape import Channels

Family = Literal["vjepa2", "videomae", "videomae-finetuned", "vivit", "video-swin"]
"""`videomae` is the pretrained encoder: the norm, then the mean over the tokens. `videomae-finetuned` is what its
authors fine-tune: the mean, then the norm. `vivit` is the joint variant: attention over all tokens of a clip."""
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
_HALF: Channels = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ClipWeights:
    """Pretrained weights of a model: on the Hugging Face hub, or on torchvision's server."""

    tag: str
    repository: str = ""
    """On the Hugging Face hub; empty if they are torchvision's."""
    file: str = ""
    """The name of torchvision's file; empty if they are on the hub."""


@dataclass(frozen=True)
class ClipModel:
    """A network that reads clips."""

    family: Family
    sizes: TransformerSizes | SwinSizes
    image_size: int = 224
    """Side of the frames that it was trained with, pixels."""
    frames: int | None = None
    """Frames of a clip, where the positions are for that number; else None."""
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    weights: Mapping[str, ClipWeights] = field(default_factory=dict)
    """By tag."""
    license: str = ""


def _hub(**repositories: str) -> dict[str, ClipWeights]:
    return {tag.replace("_", "-"): ClipWeights(tag.replace("_", "-"), each) for tag, each in repositories.items()}


def _torchvision(**files: str) -> dict[str, ClipWeights]:
    return {tag: ClipWeights(tag, file=file) for tag, file in files.items()}


_SMALL = TransformerSizes(width=384, layers=12, heads=6)
_BASE = TransformerSizes(width=768, layers=12, heads=12)
_LARGE = TransformerSizes(width=1024, layers=24, heads=16)
_HUGE = TransformerSizes(width=1280, layers=32, heads=16)
_GIANT = TransformerSizes(width=1408, layers=40, heads=22, mlp_ratio=48 / 11)
_MAE = "MCG-NJU/videomae"


def _vjepa(sizes: TransformerSizes, name: str, image_size: int) -> ClipModel:
    weights = _hub(pretrained=f"facebook/{name}")
    return ClipModel("vjepa2", sizes, image_size, weights=weights, license="MIT")


def _videomae(sizes: TransformerSizes, **repositories: str) -> ClipModel:
    return ClipModel("videomae", sizes, frames=16, weights=_hub(**repositories), license="CC-BY-NC-4.0")


def _finetuned(sizes: TransformerSizes, **repositories: str) -> ClipModel:
    return ClipModel("videomae-finetuned", sizes, frames=16, weights=_hub(**repositories), license="CC-BY-NC-4.0")


def _swin(width: int, deep: int, heads: tuple[int, int, int, int], **files: str) -> ClipModel:
    sizes = SwinSizes(width=width, layers=(2, 2, deep, 2), heads=heads)
    return ClipModel("video-swin", sizes, weights=_torchvision(**files), license="BSD-3-Clause")


CLIP_MODELS: Mapping[str, ClipModel] = {
    **{
        name: _vjepa(sizes, name, image_size)
        for name, sizes, image_size in (
            ("vjepa2-vitl-fpc64-256", _LARGE, 256),
            ("vjepa2-vith-fpc64-256", _HUGE, 256),
            ("vjepa2-vitg-fpc64-256", _GIANT, 256),
            ("vjepa2-vitg-fpc64-384", _GIANT, 384),
        )
    },
    "videomae-base": _videomae(_BASE, pretrained=f"{_MAE}-base", short=f"{_MAE}-base-short", ssv2=f"{_MAE}-base-ssv2"),
    "videomae-large": _videomae(_LARGE, pretrained=f"{_MAE}-large"),
    "videomae-small-finetuned": _finetuned(
        _SMALL, kinetics=f"{_MAE}-small-finetuned-kinetics", ssv2=f"{_MAE}-small-finetuned-ssv2"
    ),
    "videomae-base-finetuned": _finetuned(
        _BASE, kinetics=f"{_MAE}-base-finetuned-kinetics", ssv2=f"{_MAE}-base-finetuned-ssv2"
    ),
    "videomae-large-finetuned": _finetuned(_LARGE, kinetics=f"{_MAE}-large-finetuned-kinetics"),
    "videomae-huge-finetuned": _finetuned(_HUGE, kinetics=f"{_MAE}-huge-finetuned-kinetics"),
    "vivit-b-16x2": ClipModel(
        "vivit",
        _BASE,
        frames=32,
        mean=_HALF,
        std=_HALF,
        weights=_hub(kinetics400="google/vivit-b-16x2-kinetics400"),
        license="MIT",
    ),
    "swin3d_t": _swin(96, 6, (3, 6, 12, 24), KINETICS400_V1="swin3d_t-7615ae03.pth"),
    "swin3d_s": _swin(96, 18, (3, 6, 12, 24), KINETICS400_V1="swin3d_s-da41c237.pth"),
    "swin3d_b": _swin(
        128,
        18,
        (4, 8, 16, 32),
        KINETICS400_V1="swin3d_b_1k-24f7c7c6.pth",
        KINETICS400_IMAGENET22K_V1="swin3d_b_22k-7c6ae6fa.pth",
    ),
}
"""By the name of the checkpoint on the hub without its owner, or torchvision's."""
OWN_SIZES: Mapping[Family, ClipModel] = {
    "vjepa2": ClipModel("vjepa2", _LARGE, 256),
    "videomae": ClipModel("videomae", _BASE, frames=16),
    "videomae-finetuned": ClipModel("videomae-finetuned", _BASE, frames=16),
    "vivit": ClipModel("vivit", _BASE, frames=32, mean=_HALF, std=_HALF),
    "video-swin": ClipModel("video-swin", SwinSizes(width=96, layers=(2, 2, 6, 2), heads=(3, 6, 12, 24))),
}
"""What a document with `sizes` names instead of a model: a family, with its defaults for all but the sizes."""
