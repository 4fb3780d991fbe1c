"""Networks with two sides, for retrieval: features of frames and features of words in one space.

Legend: B clips, T frames, Q texts, W tokens of a text, D tower width, d side width, E channels of the shared space.
"""

import torch
from torch import Tensor, nn

from side4video.models.layers.frame_projection import FrameProjection
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.side4video import Side4Video
from side4video.models.towers.frozen_tower import FrozenTower


class Pair(nn.Module):
    """A video side and a text side that know nothing of each other."""

    def __init__(self, video: nn.Module, text: nn.Module, *, output_dim: int) -> None:
        """Put two sides together.

        Args:
            video: Frozen features to frame features [B, T, E].
            text: Tokens [Q, W] to word features [Q, W, E].
            output_dim: E.
        """
        super().__init__()
        self.video, self.text, self.output_dim = video, text, output_dim

    def forward(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features [B, T, E] and word features [Q, W, E]."""
        return self.video(features), self.text(tokens_QW)


class SideFrames(nn.Module):
    """Eq. 4: each frame's feature is Proj(Up(GAP(side)) + [CLS]), Proj with the tower's final norm in front of it.

    `Up` starts at zero, as in the authors' code: before the first step the features are the frozen tower's own.
    """

    def __init__(self, side: Side4Video, tower: FrozenTower) -> None:
        super().__init__()
        self.side = side
        self.up_dD = nn.Parameter(torch.zeros(side.output_dim, tower.shape.width))
        self.projection = FrameProjection(tower)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        side_BTd = self.side.frames(features)
        dtype = compute_dtype(self.up_dD)
        added_BTD = side_BTd.to(dtype) @ self.up_dD.to(dtype)
        return self.projection(class_tokens(features) + added_BTD)


class FrozenFrames(nn.Module):
    """The frozen tower's own frame features, by its last two layers, which may be trained."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.projection = FrameProjection(tower)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        return self.projection(class_tokens(features))


def class_tokens(features: FrozenFeatures) -> Tensor:
    """The last block's [CLS] tokens [B, T, D], fp32.

    Raises:
        ValueError: Nobody asked the tower for them.
    """
    if features.class_BTD is None:
        raise ValueError("the last [CLS] tokens are read, and none were given")
    return features.class_BTD.float()


@torch.no_grad()
def initialise_as_for_retrieval(side: Side4Video) -> None:
    """The authors' initial values for retrieval on CLIP's towers, which differ from those for recognition.

    Matrices N(0, 0.02) and their biases zero, but for the attention's entry and the depthwise convolution,
    N(0, d^-0.5); the convolutions' biases, the norms and the spatial embedding begin as they do for recognition.
    """
    for name, parameter in side.named_parameters():
        if not name.startswith("blocks.") or "norm" in name:
            continue
        if name.endswith(("query_key_value.weight", "mix.weight_3D")):
            parameter.normal_(std=side.output_dim**-0.5)
        elif name.endswith(".weight"):
            parameter.normal_(std=0.02)
        elif name.endswith(".bias") and ".temporal." not in name:
            parameter.zero_()
