"""The documents of frozen towers, one file per family. The modules are in `models.towers`.

Nothing here imports torch, so a document is checked in milliseconds.
"""

from typing import Annotated

from side4video.core.kinds import ByKind
from side4video.models.backbones.blip import BlipSpec
from side4video.models.backbones.clip_tower import ClipTowerSpec
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.timm import TimmSpec
from side4video.models.backbones.vit import ViTSpec

Backbone = Annotated[OpenCLIPSpec | TimmSpec | ViTSpec | ClipTowerSpec | BlipSpec, ByKind()]
"""All families of towers."""
__all__ = ["Backbone", "BlipSpec", "ClipTowerSpec", "OpenCLIPSpec", "TimmSpec", "TowerShape", "ViTSpec"]
