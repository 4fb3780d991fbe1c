"""CLIP4Clip's networks (Luo et al., 2021, arXiv 2104.08860): CLIP's frame features, in order or not.

Legend: B clips, T frames, N = B·T, S tokens of a frame, D tower width, E channels of the shared space, Q texts, W
tokens of a text, V videos.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.full import pooled_frames
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.text_tower import TextTower

HEAD_WIDTH = 64
NEVER_TRAINED = (
    *("conv1.", "class_embedding", "positional_embedding", "ln_pre."),
    *("patch_embed.", "cls_token", "pos_embed"),
    "token_embedding.",
)
"""Parameters of a tower's entrance, which the authors leave as they are, by CLIP's and EVA-CLIP's names."""
EPSILON = 1e-12
"""Of the layer norms that stand behind the towers, in the authors' code."""


class TrainedFrames(nn.Module):
    """The whole image tower, trained: it takes the tower over, as full fine-tuning does.

    Gradients pass through every block, so a step holds the activations of them all.
    """

    is_pretrained = True

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.depth, self.trunk = tower.shape.depth, tower.trunk
        for name, parameter in tower.trunk.visual.named_parameters():
            parameter.requires_grad_(not name.startswith(NEVER_TRAINED))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        batch, frames = features.video_BTCHW.shape[:2]
        return self.trunk.project(pooled_frames(self.trunk, self.depth, features)).unflatten(0, (batch, frames))


def freeze_entrance(text: TextTower) -> None:
    """Leave the embeddings of tokens and positions as they are, whatever else of the text tower is trained."""
    for name, parameter in text.transformer.named_parameters():
        if name.startswith(NEVER_TRAINED):
            parameter.requires_grad_(False)


class Block(nn.Module):
    """A transformer block in CLIP's form: pre-norm attention and MLP with QuickGELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.leave_attention = nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width, eps=EPSILON)
        self.enter = nn.Linear(width, 4 * width)
        self.leave = nn.Linear(4 * width, width)

    def forward(self, tokens_BTE: Tensor) -> Tensor:
        """Tokens after attention over all of them, and MLP."""
        entered = self.query_key_value(self.attention_norm(tokens_BTE))
        query, key, value = entered.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BhTd = F.scaled_dot_product_attention(query, key, value)
        tokens_BTE = tokens_BTE + self.leave_attention(mixed_BhTd.transpose(1, 2).flatten(2))
        hidden = self.enter(self.perceptron_norm(tokens_BTE))
        return tokens_BTE + self.leave(hidden * torch.sigmoid(1.702 * hidden))

    @torch.no_grad()
    def copy_from(self, block: Any) -> None:
        """Begin with the weights of a block of the text tower, where it is as wide."""
        attention, mlp = block.attn, block.mlp
        pairs = [
            (self.attention_norm.weight, block.ln_1.weight),
            (self.attention_norm.bias, block.ln_1.bias),
            (self.query_key_value.weight, attention.in_proj_weight),
            (self.query_key_value.bias, attention.in_proj_bias),
            (self.leave_attention.weight, attention.out_proj.weight),
            (self.leave_attention.bias, attention.out_proj.bias),
            (self.perceptron_norm.weight, block.ln_2.weight),
            (self.perceptron_norm.bias, block.ln_2.bias),
            (self.enter.weight, mlp.c_fc.weight),
            (self.enter.bias, mlp.c_fc.bias),
            (self.leave.weight, mlp.c_proj.weight),
            (self.leave.bias, mlp.c_proj.bias),
        ]
        for own, source in pairs:
            if own.shape == source.shape and not source.is_meta:
                own.copy_(source)


def positions_like(text: TextTower, *, at_least: int) -> nn.Parameter:
    """Learnt positions [as many as the text tower has, or more, E].

    They begin as the text tower's, where it is as wide as the shared space; else N(0, 0.02).
    """
    whole: Any = text.transformer
    source, width = whole.positional_embedding, text.output_dim
    positions = torch.randn(max(at_least, len(source)), width) * 0.02
    if text.width == width and not source.is_meta:
        positions[: len(source)] = source.detach()
    return nn.Parameter(positions)


def blocks_like(text: TextTower, *, layers: int) -> nn.ModuleList:
    """Blocks as wide as the shared space, that begin as the text tower's first ones, where it is as wide."""
    blocks = [Block(text.output_dim) for _ in range(layers)]
    for block, source in zip(blocks, text.blocks, strict=False):
        block.copy_from(source)
    return nn.ModuleList(blocks)


class FrameSequence(nn.Module):
    """`seqTransf`: blocks over a clip's frame features, with positions, added to them."""

    def __init__(self, side: nn.Module, text: TextTower, *, layers: int, frames: int) -> None:
        """Blocks and positions as the text tower's.

        Args:
            side: Frozen features to frame features [B, T, E].
            text: Where blocks and positions begin.
            layers: Blocks.
            frames: T.
        """
        super().__init__()
        self.frames = side
        self.positions_TE = positions_like(text, at_least=frames)
        self.blocks = blocks_like(text, layers=layers)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        frames_BTE = self.frames(features).float()
        mixed_BTE = frames_BTE + self.positions_TE[: frames_BTE.shape[1]]
        for block in self.blocks:
            mixed_BTE = block(mixed_BTE)
        return frames_BTE + mixed_BTE
