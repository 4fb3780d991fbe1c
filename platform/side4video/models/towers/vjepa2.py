"""V-JEPA 2 (Assran et al., 2025, arXiv 2506.09985): transformers' encoder, split into blocks.

Tubelets of 2 x 16 x 16, rotary positions over time, height and width, no class token. The library computes rotary
positions from the number of a token, so clips may have any number of frames.

Legend: B clips, T frames, C channels, H, W pixels, S tokens of a clip, D width.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import VJEPA2Config
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2Encoder

from side4video.models.backbones.clip_sizes import TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk, check_no_attention, without_head


class VJEPA2Trunk(ClipTrunk):
    """The encoder, without the predictor."""

    def __init__(self, sizes: TransformerSizes, shape: TowerShape) -> None:
        super().__init__()
        config = VJEPA2Config(
            patch_size=sizes.patch_size,
            crop_size=shape.image_size,
            frames_per_clip=sizes.tubelet_frames,
            tubelet_size=sizes.tubelet_frames,
            hidden_size=sizes.width,
            num_attention_heads=sizes.heads,
            num_hidden_layers=sizes.layers,
            mlp_ratio=sizes.mlp_ratio,
        )
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            self.visual = VJEPA2Encoder(config)
        self.blocks = list(self.visual.layer)

    @property
    def norm(self) -> nn.Module:
        """See `ClipTrunk`."""
        return cast("Any", self.visual).layernorm

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `ClipTrunk`."""
        return cast("Any", self.visual).embeddings(frames_NCHW)

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """See `ClipTrunk`."""
        check_no_attention(read)
        return self.blocks[index](tokens_NPD)[0]

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the hub's files, of the model with its predictor or of a classifier."""
        plain = {name.removeprefix("vjepa2.").removeprefix("encoder."): tensor for name, tensor in state.items()}
        own = self.visual.state_dict()
        return without_head(plain, own, ignored=("predictor.", "pooler.", "classifier."))
