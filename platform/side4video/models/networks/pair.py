"""Networks for retrieval: features of frames and features of words in one space.

Legend: B clips, T frames, Q texts, W tokens of a text, D tower width, d side width, E channels of the shared space.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.layers.frame_projection import FrameProjection
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.side4video import Side4Video
from side4video.models.towers.frozen_tower import FrozenTower


class Pair(nn.Module):
    """Independent networks for videos and for texts."""

    def __init__(self, video: nn.Module, text: nn.Module, *, output_dim: int) -> None:
        """Combine both networks.

        `video` maps frozen features to frame features [B, T, E], `text` tokens [Q, W] to word features [Q, W, E].
        """
        super().__init__()
        self.video, self.text, self.output_dim = video, text, output_dim

    def forward(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features [B, T, E] and word features [Q, W, E]."""
        return self.video(features), self.text(tokens_QW)


class SideFrames(nn.Module):
    """Eq. 4: each frame's feature is Proj(Up(GAP(side)) + [CLS]), where Proj includes the tower's final norm.

    `Up` starts at zero, as in the authors' code: the initial features are the frozen tower's. On a tower that does not
    pool by its class token, the pooled feature takes the place of [CLS].
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
        return self.projection(frame_features(features) + added_BTD)


class FrozenFrames(nn.Module):
    """The frozen tower's frame features; final norm and projection are copies that can be trained."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.projection = FrameProjection(tower)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        return self.projection(frame_features(features))


def class_tokens(features: FrozenFeatures) -> Tensor:
    """The last block's class tokens [B, T, D], fp32.

    Raises:
        ValueError: The method did not request them.
    """
    if features.class_BTD is None:
        raise ValueError("the network reads the last class tokens, and the method did not request them")
    return features.class_BTD.float()


def frame_features(features: FrozenFeatures) -> Tensor:
    """What `FrameProjection` projects, [B, T, D] in fp32: the class tokens, or the pooled features.

    Raises:
        ValueError: The method did not request them.
    """
    if features.layout.pooling == "class-token":
        return class_tokens(features)
    if features.pooled_BTD is None:
        raise ValueError("the network reads the pooled features, and the method did not request them")
    return features.pooled_BTD.float()


@torch.no_grad()
def initialize_for_retrieval(side: Side4Video) -> None:
    """Set the initial values of the authors' code for retrieval on CLIP's towers.

    Matrices are N(0, 0.02) with zero biases; the attention's input projection and the depthwise convolution are
    N(0, d^-0.5). The convolutions' biases, the norms and the spatial embedding are those for recognition.
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


class FrozenMean(nn.Module):
    """The mean of normalised frame features, as in retrieval's mean matching (CLIP4Clip's meanP)."""

    def __init__(self, tower: FrozenTower) -> None:
        super().__init__()
        self.frames = FrozenFrames(tower).requires_grad_(False)
        self.output_dim = tower.shape.output_dim

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E]."""
        return F.normalize(self.frames(features), dim=-1).mean(dim=1)
