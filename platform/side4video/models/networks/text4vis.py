"""The network of Text4Vis (Wu et al., 2023, arXiv 2207.01297): blocks over a clip's frame features, then their mean.

The classifier is the task's: cosines with the frozen texts of the classes.

Legend: B clips, T frames, E channels of the space shared with texts.
"""

import torch
from torch import Tensor, nn

from side4video.models.layers.frame_projection import FrameProjection
from side4video.models.layers.frozen_copy import frozen_copy
from side4video.models.networks.clip4clip import Block
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import frame_features
from side4video.models.towers.frozen_tower import FrozenTower

INITIAL_STD = 0.02


def new_block(width: int) -> Block:
    """A block with the authors' initial values: N(0, 0.02), zero biases, and torch's own for the attention's input."""
    block = Block(width)
    for layer in (block.leave_attention, block.enter, block.leave):
        nn.init.normal_(layer.weight, std=INITIAL_STD)
    nn.init.xavier_uniform_(block.query_key_value.weight)
    for layer in (block.query_key_value, block.leave_attention, block.enter, block.leave):
        nn.init.zeros_(layer.bias)
    return block


class TemporalBlocks(nn.Module):
    """Blocks over frame features and their positions, with a residual connection around all of them.

    No output starts at zero: the features of a new student are not the tower's.
    """

    def __init__(self, width: int, *, layers: int, positions: int) -> None:
        super().__init__()
        self.positions_TE = nn.Parameter(torch.randn(positions, width) * INITIAL_STD)
        self.blocks = nn.ModuleList(new_block(width) for _ in range(layers))

    def forward(self, frames_BTE: Tensor) -> Tensor:
        """Frame features [B, T, E] after attention over the frames of their clip."""
        mixed_BTE = frames_BTE + self.positions_TE[: frames_BTE.shape[1]]
        for block in self.blocks:
            mixed_BTE = block(mixed_BTE)
        return frames_BTE + mixed_BTE


class FrozenTowerFrames(nn.Module):
    """The frozen tower's frame features in the space shared with texts; nothing of it is trained or written."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.projection = frozen_copy(FrameProjection(tower))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        return self.projection(frame_features(features))


class Text4Vis(nn.Module):
    """Frame features of a tower, temporal blocks, the mean over the frames."""

    def __init__(self, frames: nn.Module, *, output_dim: int, layers: int, positions: int) -> None:
        """`frames` maps frozen features to frame features [B, T, E]; E is `output_dim`."""
        super().__init__()
        self.frames, self.output_dim = frames, output_dim
        self.sequence = TemporalBlocks(output_dim, layers=layers, positions=positions)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E] of the clips."""
        return self.sequence(self.frames(features).float()).mean(dim=1)
