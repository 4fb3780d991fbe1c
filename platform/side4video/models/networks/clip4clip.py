"""The networks of CLIP4Clip (Luo et al., 2021, arXiv 2104.08860) on CLIP's frame features.

Legend: B clips, T frames, E channels of the shared space, h heads, k channels of a head.
"""

from typing import Any

import torch
from einops import rearrange
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
"""Names of the embedding layers of CLIP's and EVA-CLIP's towers, which the authors do not train."""
EPSILON = 1e-12
"""Epsilon of the layer norms after the towers, in the authors' code."""


class TrainedFrames(nn.Module):
    """The whole image tower, trained. The tower's weights become this module's own, as in full fine-tuning."""

    is_pretrained = True

    def __init__(self, tower: FrozenTower, *, trains_entrance: bool = False) -> None:
        """Take a tower over. `trains_entrance`: its embeddings and the norm before the first block are trained too."""
        super().__init__()
        self.depth, self.trunk = tower.shape.depth, tower.trunk
        for name, parameter in tower.trunk.visual.named_parameters():
            parameter.requires_grad_(trains_entrance or not name.startswith(NEVER_TRAINED))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        batch, frames = features.video_BTCHW.shape[:2]
        return self.trunk.project(pooled_frames(self.trunk, self.depth, features)).unflatten(0, (batch, frames))


def freeze_entrance(text: TextTower) -> None:
    """Do not train the embeddings of tokens and positions."""
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

    def forward(self, tokens_BTE: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Tokens after attention over the frames, and MLP. Where `mask_BT` is False, a token is not attended to."""
        entered = self.query_key_value(self.attention_norm(tokens_BTE))
        query, key, value = rearrange(entered, "B T (qkv h k) -> qkv B h T k", qkv=3, h=self.heads)
        seen_B11T = None if mask_BT is None else attended(mask_BT)
        mixed_BhTk = F.scaled_dot_product_attention(query, key, value, attn_mask=seen_B11T)
        tokens_BTE = tokens_BTE + self.leave_attention(rearrange(mixed_BhTk, "B h T k -> B T (h k)"))
        hidden = self.enter(self.perceptron_norm(tokens_BTE))
        return tokens_BTE + self.leave(hidden * torch.sigmoid(1.702 * hidden))

    def copy_from(self, block: Any) -> None:
        """Copy the weights of a block of the text tower, if it has the same width."""
        attention = (self.attention_norm, self.query_key_value, self.leave_attention)
        copy_block(block, *attention, self.perceptron_norm, self.enter, self.leave)


def attended(mask_BT: Tensor) -> Tensor:
    """Which tokens are attended to [B, 1, 1, T]: the real ones; all, in a sequence that has none.

    The authors add -10^6 to the scores of the others, which means the same, but rounds scores in fp32.
    """
    return (mask_BT | ~mask_BT.any(dim=-1, keepdim=True))[:, None, None]


@torch.no_grad()
def copy_block(block: Any, *layers: nn.Module) -> None:
    """Copy the weights of a block of CLIP, except those of another shape or on `meta`.

    `layers` are norm, input and output of its attention, then norm, input and output of its MLP.
    """
    attention, mlp = block.attn, block.mlp
    sources = [
        *(block.ln_1.weight, block.ln_1.bias, attention.in_proj_weight, attention.in_proj_bias),
        *(attention.out_proj.weight, attention.out_proj.bias, block.ln_2.weight, block.ln_2.bias),
        *(mlp.c_fc.weight, mlp.c_fc.bias, mlp.c_proj.weight, mlp.c_proj.bias),
    ]
    targets = [getattr(layer, name) for layer in layers for name in ("weight", "bias")]
    for target, source in zip(targets, sources, strict=True):
        if target.shape == source.shape and not source.is_meta:
            target.copy_(source)


def positions_from(text: TextTower, *, at_least: int) -> nn.Parameter:
    """Learned positions [max(`at_least`, those of the text tower), E].

    Initial values are the text tower's if it is as wide as the shared space, and N(0, 0.02) otherwise.
    """
    whole: Any = text.transformer
    source, width = whole.positional_embedding, text.output_dim
    positions = torch.randn(max(at_least, len(source)), width) * 0.02
    if text.width == width and not source.is_meta:
        positions[: len(source)] = source.detach()
    return nn.Parameter(positions)


def blocks_from(text: TextTower, *, layers: int) -> nn.ModuleList:
    """Blocks as wide as the shared space, copies of the text tower's first ones if the widths are equal."""
    blocks = [Block(text.output_dim) for _ in range(layers)]
    for block, source in zip(blocks, text.blocks, strict=False):
        block.copy_from(source)
    return nn.ModuleList(blocks)


class FrameSequence(nn.Module):
    """`seqTransf`: blocks over a clip's frame features and positions, with a residual connection around them."""

    def __init__(self, side: nn.Module, text: TextTower, *, layers: int, frames: int) -> None:
        """Create blocks and positions from the text tower's.

        `side` maps frozen features to frame features [B, T, E]; `text` is the source of the initial values.
        """
        super().__init__()
        self.frames = side
        self.positions_TE = positions_from(text, at_least=frames)
        self.blocks = blocks_from(text, layers=layers)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        frames_BTE = self.frames(features).float()
        mixed_BTE = frames_BTE + self.positions_TE[: frames_BTE.shape[1]]
        for block in self.blocks:
            mixed_BTE = block(mixed_BTE, features.frame_mask_BT)
        return frames_BTE + mixed_BTE
