"""Frozen image towers: the specs, one file a family. The networks themselves are in `models.towers`.

Nothing here imports torch, so a spec is checked in milliseconds.
"""

from typing import Annotated

from pydantic import Field

from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.vit import ViTSpec

Backbone = Annotated[OpenCLIPSpec | ViTSpec, Field(discriminator="kind")]
"""Every family of towers a spec may name."""

__all__ = ["Backbone", "OpenCLIPSpec", "TowerShape", "ViTSpec"]
