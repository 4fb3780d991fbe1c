"""The image encoder of BLIP: transformers' `BlipVisionModel` with its projection, split into blocks.

Legend: N frames, C channels, H, W pixels, P tokens of a frame (the class token first), D width, h heads, k channels of
a head.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.blip.configuration_blip import BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel

from side4video.models.backbones.shape import Pooling, TowerShape
from side4video.models.towers.trunk import LastLayers

_POSITIONS = "vision_model.embeddings.position_embedding"


class BlipVision(nn.Module):
    """The encoder and the projection to the space shared with texts, under the names of the file."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        config = BlipVisionConfig(
            hidden_size=shape.width,
            intermediate_size=shape.mlp_width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            image_size=shape.image_size,
            patch_size=shape.patch_size,
            layer_norm_eps=shape.layer_norm_epsilon,
        )
        self.vision_model = BlipVisionModel(config)
        self.vision_proj = nn.Linear(shape.width, shape.output_dim)


class BlipTrunk(nn.Module):
    """Pre-norm blocks, learned absolute positions, a class token."""

    prefix_tokens = 1
    class_token = 0
    pooling: Pooling = "class-token"

    def __init__(self, shape: TowerShape) -> None:
        """Create the encoder on the `meta` device."""
        super().__init__()
        with torch.device("meta"):
            self.visual = BlipVision(shape)
        self.heads = shape.heads
        self._model = cast("Any", self.visual.vision_model)
        self.blocks = cast("list[Any]", list(self._model.encoder.layers))

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Class token and patches plus positions: [N, P, D]."""
        tokens_NPD = self._model.embeddings(frames_NCHW)
        return tokens_NPD if added_N1D is None else tokens_NPD + added_N1D

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """One block.

        Raises:
            NotImplementedError: Queries and keys are requested (`TowerShape.plain_attention` is false).
        """
        if read is not None:
            raise NotImplementedError("queries and keys of BLIP cannot be read")
        tokens_NPD = tokens_NPD + self.attention_branch(index, tokens_NPD)
        return tokens_NPD + self.mlp_branch(index, tokens_NPD)

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Attention with its norm."""
        return self.run_attention(index, self.attention_norm(index, tokens_NPD))

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """MLP with its norm."""
        return self.run_mlp(index, self.mlp_norm(index, tokens_NPD))

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """See `Trunk`."""
        return self.blocks[index].layer_norm1(tokens_NPD)

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """See `Trunk`."""
        attention = self.blocks[index].self_attn
        query, key, value = rearrange(attention.qkv(tokens_NPD), "N P (qkv h k) -> qkv N h P k", qkv=3, h=self.heads)
        mixed_NhPk = F.scaled_dot_product_attention(query, key, value)
        return attention.projection(rearrange(mixed_NhPk, "N h P k -> N P (h k)"))

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """See `Trunk`."""
        return self.blocks[index].layer_norm2(tokens_NPD)

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """See `Trunk`."""
        return self.blocks[index].mlp(tokens_NPD)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The class token after the final norm."""
        return self._model.post_layernorm(tokens_NPD[:, 0])

    def project(self, features_ND: Tensor) -> Tensor:
        """See `Trunk`."""
        return self.visual.vision_proj(features_ND)

    def last_layers(self) -> LastLayers:
        """See `Trunk`."""
        projection = self.visual.vision_proj
        return LastLayers(self._model.post_layernorm, projection.weight.t(), projection.bias)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The image encoder's tensors of a file of both encoders, with positions resized to this size of frames."""
        own = {name: each for name, each in state.items() if name.startswith(("vision_model.", "vision_proj."))}
        tokens = self._model.embeddings.num_positions
        if _POSITIONS in own and own[_POSITIONS].shape[1] != tokens:
            own[_POSITIONS] = resized_positions(own[_POSITIONS], tokens)
        return own

    def initial_std(self, name: str) -> float | None:
        """BLIP's: N(0, 0.02) for matrices, class token and positions."""
        return None if name.endswith("bias") or "norm" in name else 0.02

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """There are none."""


def resized_positions(positions_1PD: Tensor, tokens: int) -> Tensor:
    """Positions [1, `tokens`, D] for another square of patches: bicubic, the class token's unchanged.

    Raises:
        ValueError: Either is not a class token and a square of patches.
    """
    before, after = math.isqrt(positions_1PD.shape[1] - 1), math.isqrt(tokens - 1)
    if (before**2, after**2) != (positions_1PD.shape[1] - 1, tokens - 1):
        raise ValueError("positions are not of a square of patches")
    grid = rearrange(positions_1PD[:, 1:].float(), "n (h w) d -> n d h w", h=before)
    resized = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    patches_1PD = rearrange(resized, "n d h w -> n (h w) d").to(positions_1PD.dtype)
    return torch.cat([positions_1PD[:, :1], patches_1PD], dim=1)
