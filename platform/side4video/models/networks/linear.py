"""The network of the linear probe: the mean over time of the frozen frame features, without trained parameters."""

from torch import Tensor, nn

from side4video.models.networks.contract import FrozenFeatures


class LinearProbe(nn.Module):
    """Mean over frames of the tower's pooled feature: [B, T, D] to [B, D]."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.output_dim = width

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]."""
        if features.pooled_BTD is None:
            raise ValueError("the linear probe reads the pooled feature, and none was given")
        return features.pooled_BTD.float().mean(dim=1)
