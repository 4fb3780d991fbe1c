"""Builds the trunk of a network that reads clips, by its family."""

from side4video.core.errors import InputError
from side4video.models.backbones.clip_models import Family
from side4video.models.backbones.clip_sizes import SwinSizes, TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk


def build_clip_trunk(family: Family, sizes: TransformerSizes | SwinSizes, shape: TowerShape) -> ClipTrunk:
    """The network's blocks on the meta device, without weights.

    Raises:
        InputError: transformers is not installed.
    """
    if isinstance(sizes, SwinSizes):
        from side4video.models.towers.video_swin import VideoSwinTrunk

        return VideoSwinTrunk(sizes, shape)
    try:
        return _build_transformer(family, sizes, shape)
    except ModuleNotFoundError as error:
        raise InputError(
            "backbone.model",
            f"it is a network of transformers, and {error.name} is not installed",
            fix="pip install 'side4video[transformers]'",
        ) from error


def _build_transformer(family: Family, sizes: TransformerSizes, shape: TowerShape) -> ClipTrunk:
    if family == "vjepa2":
        from side4video.models.towers.vjepa2 import VJEPA2Trunk

        return VJEPA2Trunk(sizes, shape)
    if family == "vivit":
        from side4video.models.towers.vivit import ViViTTrunk

        return ViViTTrunk(sizes, shape)
    from side4video.models.towers.videomae import VideoMAETrunk

    return VideoMAETrunk(sizes, shape, is_finetuned=family == "videomae-finetuned")
