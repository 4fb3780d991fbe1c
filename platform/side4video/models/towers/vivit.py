"""ViViT (Arnab et al., 2021, arXiv 2103.15691), the joint variant: transformers' encoder, split into blocks.

Tubelets of 2 x 16 x 16, a class token of the clip, learned positions. The class token is one for the clip, so students
read the patches alone; the pooled feature is the class token after the final norm.

Legend: B clips, T frames, C channels, H, W pixels, S tokens of a clip (the class token first), D width.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import VivitConfig
from transformers.models.vivit.modeling_vivit import VivitModel

from side4video.models.backbones.clip_sizes import TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk, without_head

_RENAMES = (
    (r"^vivit\.", ""),
    (r"^encoder\.layer\.", "layers."),
    (r"attention\.attention\.(query|key|value)\.", lambda found: f"attention.{found[1][0]}_proj."),
    (r"attention\.output\.dense\.", "attention.o_proj."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"output\.dense\.", "mlp.fc2."),
)
"""Names in the hub's files, which are of an earlier transformers, and the library's names today."""


class ViViTTrunk(ClipTrunk):
    """The encoder, without its pooler."""

    def __init__(self, sizes: TransformerSizes, shape: TowerShape) -> None:
        super().__init__()
        config = VivitConfig(
            image_size=shape.image_size,
            num_frames=shape.clip_frames or sizes.tubelet_frames,
            tubelet_size=[sizes.tubelet_frames, sizes.patch_size, sizes.patch_size],
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=int(sizes.width * sizes.mlp_ratio),
        )
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            self.visual = VivitModel(config, add_pooling_layer=False)
        self.blocks = list(self.visual.layers)

    @property
    def norm(self) -> nn.Module:
        """See `ClipTrunk`."""
        return cast("Any", self.visual).layernorm

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `ClipTrunk`."""
        return cast("Any", self.visual).embeddings(frames_NCHW)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The class token after the final norm: [B, D]."""
        return self.norm(tokens_NPD[:, 0])

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the hub's files."""
        renamed: dict[str, Tensor] = {}
        for name, tensor in state.items():
            for theirs, ours in _RENAMES:
                name = re.sub(theirs, ours, name)
            renamed[name] = tensor
        return without_head(renamed, self.visual.state_dict(), ignored=("classifier.", "pooler."))

    def initial_std(self, name: str) -> float | None:
        """0.02; zeros for the class token."""
        return 0.0 if name.endswith("cls_token") else super().initial_std(name)
