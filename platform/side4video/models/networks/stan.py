"""The branch of STAN (Liu et al., 2023, section 3.2): blocks over time and over space, beside the tower's last blocks.

The stream has one class token for the whole clip, and the patches of every frame.

Legend: B clips, T frames, N = B·T, P patches of a frame, S = P + 1 tokens with the class token, D tower width, G groups
of tokens that attend to each other, E channels of the shared space, h heads, k channels of a head.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.drop_path import DropPath
from side4video.models.layers.folded import affine_linear
from side4video.models.layers.frame_projection import FrameProjection
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.layers.normalization import layer_normalise
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.product import linear
from side4video.models.networks.clip4clip import TrainedFrames, copy_block
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import class_tokens
from side4video.models.towers.frozen_tower import FrozenTower

TIME_EMBEDDINGS = 64
"""Rows of the learned time embedding, in the authors' code."""


class Attention(nn.Module):
    """Layer norm and CLIP's attention over each group of tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, tokens_GSD: Tensor) -> Tensor:
        """The branch's output [G, S, D]."""
        dtype = compute_dtype(self.leave.weight)
        entered = affine_linear(layer_normalise(tokens_GSD.to(dtype)), self.norm, self.query_key_value)
        query, key, value = rearrange(entered, "G S (qkv h k) -> qkv G h S k", qkv=3, h=self.heads)
        mixed_GhSk = F.scaled_dot_product_attention(query, key, value)
        return _apply(self.leave, rearrange(mixed_GhSk, "G h S k -> G S (h k)"))


class Stage(nn.Module):
    """Attention of each patch position over time, then a block like the tower's over each frame.

    The output of temporal attention starts at zero; the block starts as a copy of the tower's.
    """

    def __init__(self, shape: TowerShape, *, drop_path: float, is_last: bool) -> None:
        super().__init__()
        width = shape.width
        self.quick_gelu, self.is_last = shape.quick_gelu, is_last
        self.time = Attention(width, shape.heads)
        self.leave_time = nn.Linear(width, width)
        nn.init.zeros_(self.leave_time.weight)
        nn.init.zeros_(self.leave_time.bias)
        self.space = Attention(width, shape.heads)
        self.perceptron_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, shape.mlp_width)
        self.narrow = nn.Linear(shape.mlp_width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, class_BD: Tensor, patches_BTPD: Tensor) -> tuple[Tensor, Tensor]:
        """The clip's class token and the patches after this stage.

        The last stage does not apply its MLP to the patches, which are not read.
        """
        batch, frames = patches_BTPD.shape[:2]
        series_GTD = rearrange(patches_BTPD, "B T P D -> (B P) T D")
        moved_GTD = _apply(self.leave_time, self.drop_path(self.time(series_GTD)))
        patches_BTPD = patches_BTPD + rearrange(moved_GTD, "(B P) T D -> B T P D", B=batch)
        copies_BT1D = class_BD[:, None, None].expand(-1, frames, -1, -1)
        tokens_NSD = torch.cat([copies_BT1D, patches_BTPD], dim=2).flatten(0, 1)
        mixed_BTSD = self.drop_path(self.space(tokens_NSD)).unflatten(0, (batch, frames))
        class_BD = class_BD + mixed_BTSD[:, :, 0].float().mean(dim=1)
        patches_BTPD = patches_BTPD + mixed_BTSD[:, :, 1:]
        class_BD = class_BD + self._run_mlp(class_BD)
        return class_BD, patches_BTPD if self.is_last else patches_BTPD + self._run_mlp(patches_BTPD)

    def _run_mlp(self, tokens: Tensor) -> Tensor:
        normalised = layer_normalise(tokens.to(compute_dtype(self.widen.weight)))
        hidden = affine_linear(normalised, self.perceptron_norm, self.widen)
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self.quick_gelu else F.gelu(hidden)
        return _apply(self.narrow, hidden)

    def copy_from(self, block: Any) -> None:
        """Copy the weights of a block of the image tower into spatial attention and MLP, unless it is on `meta`."""
        attention = (self.space.norm, self.space.query_key_value, self.space.leave)
        copy_block(block, *attention, self.perceptron_norm, self.widen, self.narrow)


class Branch(nn.Module):
    """All stages: from tokens of the tower's last blocks to one class token of the clip.

    Copies of the tower's class and position embeddings, frozen, are added to the input of the first stage, and a
    learned embedding of time to its patches.
    """

    positions_SD: Tensor

    def __init__(self, tower: FrozenTower, *, taps: tuple[int, ...], drop_path: float) -> None:
        super().__init__()
        self.taps, self.tower = taps, tower.shape
        visual: Any = tower.trunk.visual
        self.stages = nn.ModuleList()
        for number, tap in enumerate(taps):
            rate = drop_path * number / max(1, len(taps) - 1)
            stage = Stage(tower.shape, drop_path=rate, is_last=tap == taps[-1])
            stage.copy_from(visual.transformer.resblocks[tap])
            self.stages.append(stage)
        self.times_TD = nn.Parameter(torch.randn(TIME_EMBEDDINGS, tower.shape.width))
        positions_SD = torch.zeros(tower.shape.tokens, tower.shape.width)
        if not visual.positional_embedding.is_meta:
            positions_SD.copy_(visual.positional_embedding.detach())
            tower.shape.class_token_of(positions_SD).add_(visual.class_embedding.detach().to(positions_SD))
        self.register_buffer("positions_SD", positions_SD, persistent=False)

    def forward(self, features: FrozenFeatures, positions_SD: Tensor | None = None) -> Tensor:
        """The clip's class token [B, D], fp32.

        `positions_SD` are the class and position embeddings of a tower that is trained too.
        """
        positions_SD = self.positions_SD if positions_SD is None else positions_SD
        batch, frames = features.video_BTCHW.shape[:2]
        class_BD = patches_BTPD = None
        for tap, stage in zip(self.taps, self.stages, strict=True):
            tokens_BTSD = features.read(tap).unflatten(0, (batch, frames)).float()
            mean_BD = self.tower.class_token_of(tokens_BTSD).mean(dim=1)
            own_BTPD = self.tower.patch_tokens(tokens_BTSD)
            if class_BD is None or patches_BTPD is None:
                class_BD = (mean_BD + self.tower.class_token_of(positions_SD)) / 2
                positions_PD = self.tower.patch_tokens(positions_SD)
                patches_BTPD = own_BTPD + positions_PD + self.times_TD[:frames, None]
            else:
                class_BD, patches_BTPD = class_BD + mean_BD, patches_BTPD + own_BTPD
            class_BD, patches_BTPD = stage(class_BD, patches_BTPD)
        if class_BD is None:
            raise ValueError("a branch without stages")
        return class_BD


class STAN(nn.Module):
    """Frame features: the projection of the frame's class token plus the branch's class token."""

    def __init__(self, tower: FrozenTower, *, taps: tuple[int, ...], drop_path: float) -> None:
        """Create the branch and copy the tower's last two layers.

        `taps` are the blocks with a stage, ascending. `drop_path` is the rate of the last stage; it falls linearly to 0
        in the first.
        """
        super().__init__()
        self.branch = Branch(tower, taps=taps, drop_path=drop_path)
        self.projection = FrameProjection(tower)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        return self.projection(class_tokens(features) + self.branch(features).unsqueeze(1))


class TrainedSTAN(nn.Module):
    """STAN as its authors train it: the tower as well, all of it. The branch reads the tower's own embeddings."""

    def __init__(self, tower: FrozenTower, *, taps: tuple[int, ...], drop_path: float) -> None:
        """Create the branch and take the tower over; the arguments are those of `STAN`."""
        super().__init__()
        self.branch = Branch(tower, taps=taps, drop_path=drop_path)
        self.tower, self.shape = TrainedFrames(tower), tower.shape
        self.tower.requires_grad_(True)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        trunk, visual = self.tower.trunk, cast("Any", self.tower.trunk.visual)
        batch, frames = features.video_BTCHW.shape[:2]
        tokens_NSD = trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        read: dict[int, Tensor | Int8Tokens] = {}
        for index in range(self.shape.depth):
            tokens_NSD = tokens_NSD + trunk.attention_branch(index, tokens_NSD)
            tokens_NSD = tokens_NSD + trunk.mlp_branch(index, tokens_NSD)
            if index in self.branch.taps:
                read[index] = tokens_NSD
        summands = (0.0 if place else 1.0 for place in range(self.shape.tokens))
        is_class_S1 = torch.tensor(list(summands), device=tokens_NSD.device).unsqueeze(1)
        positions_SD = visual.positional_embedding + is_class_S1 * visual.class_embedding
        clip_BD = self.branch(replace(features, tokens=read), positions_SD)
        class_BTD = self.shape.class_token_of(tokens_NSD).unflatten(0, (batch, frames)).float()
        last = trunk.last_layers()
        return trunk.project(last.norm(class_BTD + clip_BD.unsqueeze(1)))


def _apply(layer: nn.Linear, tokens: Tensor) -> Tensor:
    dtype = compute_dtype(layer.weight)
    return linear(tokens.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
