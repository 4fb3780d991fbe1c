"""The video branch of BIKE (Wu et al., 2023, arXiv 2301.00182): blocks over a clip's frame features.

The task's classifier weighs the frames (`tasks.recognition.spotting`).

Legend: B clips, T frames, E channels of the space shared with texts.
"""

from torch import Tensor, nn

from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.text4vis import TemporalBlocks


class BIKE(nn.Module):
    """Frame features of a tower, and Text4Vis' temporal blocks without the mean over the frames."""

    def __init__(self, frames: nn.Module, *, output_dim: int, layers: int, positions: int) -> None:
        """`frames` maps frozen features to frame features [B, T, E]; E is `output_dim`."""
        super().__init__()
        self.frames, self.output_dim = frames, output_dim
        self.sequence = TemporalBlocks(output_dim, layers=layers, positions=positions)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        return self.sequence(self.frames(features).float())
