"""The network of UniAdapter on CLIP (Lu et al., 2023, section 3.2): one adapter per block index, for both towers.

The adapter of block i is parallel to the MLP of block i in both towers. Norm and down-projection are shared; each tower
has its own up-projection.

Legend: B clips, T frames, N = B·T, S tokens of a frame, Q texts, W tokens of a text, D width of either
tower, E channels of the shared space, H channels of the bottleneck.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from side4video.models.layers.normalization import layer_normalise
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.product import linear
from side4video.models.networks.contract import FrozenFeatures, SharedTower
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.text_tower import TextTower

INITIAL_STD = 0.02


class Adapter(nn.Module):
    """Norm, a shared down-projection, ReLU, an up-projection per tower, times a constant.

    The norm and the down-projection are as wide as the wider tower; the narrower one uses their first channels. The
    text's up-projection starts at zero, the image's at N(0, 0.02), as in the authors' code.
    """

    def __init__(self, *, image_width: int | None, text_width: int | None, dim: int, scale: float) -> None:
        """Create one adapter.

        A width is None if that tower has no such block. The bottleneck has `dim` channels; `scale` is the factor of the
        output.
        """
        super().__init__()
        width, self.scale = max(image_width or 0, text_width or 0), scale
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, dim)
        nn.init.zeros_(self.enter.bias)
        self.image = nn.Linear(dim, image_width) if image_width else None
        self.text = nn.Linear(dim, text_width) if text_width else None
        for leave, std in ((self.image, INITIAL_STD), (self.text, 0.0)):
            if leave is not None:
                nn.init.normal_(leave.weight, std=std)
                nn.init.zeros_(leave.bias)

    def forward(self, tokens: Tensor, side: Literal["image", "text"]) -> Tensor:
        """The adapter's output for tokens [..., D], in their precision."""
        leave = self.image if side == "image" else self.text
        if leave is None:
            raise ValueError(f"the {side} tower has no such block")
        hidden = bottleneck(tokens, self.norm, self.enter)
        return (self.scale * leave(hidden)).to(tokens.dtype)


def bottleneck(tokens: Tensor, norm: nn.LayerNorm, enter: nn.Linear) -> Tensor:
    """`ReLU(enter(norm(tokens)))` for tokens [..., D] with the first D channels of both layers: [..., H].

    It is in autocast's precision, or else in that of the weights.
    """
    width, dtype = tokens.shape[-1], compute_dtype(enter.weight)
    weight_HD = enter.weight[:, :width]
    # The norm's affine part is fused with the matrix, as in `layers.folded`, so that only one tensor is saved.
    folded_HD = (weight_HD * norm.weight[:width]).to(dtype)
    offset_H = (enter.bias + (weight_HD * norm.bias[:width]).sum(1)).to(dtype)
    return torch.relu(linear(layer_normalise(tokens.to(dtype)), folded_HD, offset_H))


class UniAdapter(nn.Module):
    """Two frozen towers with an adapter parallel to each MLP; a deeper tower's last adapters are its own."""

    def __init__(self, tower: FrozenTower, text: TextTower, *, dim: int, scale: float) -> None:
        """Create adapters for two towers.

        The image tower stays outside of this module, the text tower becomes a part of it. The bottleneck has `dim`
        channels; `scale` is the factor of an adapter's output.
        """
        super().__init__()
        self.borrowed, self.text_tower = SharedTower(tower), text
        self.output_dim, self.depth = tower.shape.output_dim, tower.shape.depth
        self.adapters = nn.ModuleList(
            Adapter(
                image_width=tower.shape.width if index < self.depth else None,
                text_width=text.width if index < text.depth else None,
                dim=dim,
                scale=scale,
            )
            for index in range(max(self.depth, text.depth))
        )

    def forward(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features [B, T, E] and word features [Q, W, E]."""
        return self.video(features), self.text(tokens_QW)

    def video(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E] of the adapted image tower."""
        tower = self.borrowed.tower
        with tower.own_precision():
            tokens_NSD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        for index in range(self.depth):
            with tower.own_precision():
                tokens_NSD = tokens_NSD + tower.trunk.attention_branch(index, tokens_NSD)
                branch_NSD = tower.trunk.mlp_branch(index, tokens_NSD)
            tokens_NSD = tokens_NSD + branch_NSD + self.adapters[index](tokens_NSD, "image")
        with tower.own_precision():
            frames_NE = tower.trunk.project(tower.trunk.pool(tokens_NSD))
        return frames_NE.float().unflatten(0, features.video_BTCHW.shape[:2])

    def text(self, tokens_QW: Tensor) -> Tensor:
        """Word features [Q, W, E] of the adapted text tower."""
        tower = self.text_tower
        tokens_QWD = tower.embed(tokens_QW)
        for index in range(tower.depth):
            tokens_QWD = tokens_QWD + tower.attention_branch(index, tokens_QWD)
            branch_QWD = tower.mlp_branch(index, tokens_QWD)
            tokens_QWD = tokens_QWD + branch_QWD + self.adapters[index](tokens_QWD, "text")
        return tower.finish(tokens_QWD)
