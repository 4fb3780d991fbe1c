"""The network of Cross-Modal Adapter (Jiang et al., 2022, section 3.3): adapters in both towers with shared rows.

In every block of both towers, an adapter follows the attention and the MLP, before the residual connection. The last
rows of the up-projection are shared by both towers.

Legend: B clips, T frames, N = B·T, S tokens of a frame, Q texts, W tokens of a text, D width of either tower, E
channels of the shared space.
"""

import torch
from torch import Tensor, nn

from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures, SharedTower
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.text_tower import TextTower

INITIAL_STD = 0.01


class Adapter(nn.Module):
    """One tower's down-projection, and the rows of its up-projection that are not shared."""

    def __init__(self, width: int, *, dim: int, shared: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, dim)
        self.leave = nn.Linear(dim, width - shared)
        _initialize(self.enter, self.leave)

    def forward(self, branch: Tensor, shared: nn.Linear) -> Tensor:
        """A branch's output [..., D] plus the adapter's output, in the branch's precision."""
        hidden = self.enter(branch.to(compute_dtype(self.enter.weight)))
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return branch + torch.cat([self.leave(hidden), shared(hidden)], dim=-1).to(branch.dtype)


class AdapterPair(nn.Module):
    """The adapters after one layer of both towers, and their shared rows."""

    def __init__(self, image_width: int, text_width: int, *, dim: int, shared: int) -> None:
        super().__init__()
        self.image = Adapter(image_width, dim=dim, shared=shared)
        self.text = Adapter(text_width, dim=dim, shared=shared)
        self.shared = nn.Linear(dim, shared)
        _initialize(self.shared)

    def adapt_image(self, branch_NSD: Tensor) -> Tensor:
        """The image tower's branch, adapted."""
        return self.image(branch_NSD, self.shared)

    def adapt_text(self, branch_QWD: Tensor) -> Tensor:
        """The text tower's branch, adapted."""
        return self.text(branch_QWD, self.shared)


class CrossModalAdapter(nn.Module):
    """Two towers, and a pair of adapters after each branch of their blocks.

    The adapters' initial output is small but not zero, as in the authors' code.
    """

    def __init__(self, tower: FrozenTower, text: TextTower, *, dim: int, shared: int) -> None:
        """Create adapters for two towers of equal depth.

        The image tower stays outside of this module, the text tower becomes a part of it. The bottleneck has `dim`
        channels; both towers share `shared` rows of the up-projection.
        """
        super().__init__()
        self.borrowed, self.text_tower = SharedTower(tower), text
        self.output_dim = tower.shape.output_dim
        widths = (tower.shape.width, text.width)
        blocks = range(tower.shape.depth)
        self.after_attention = nn.ModuleList(AdapterPair(*widths, dim=dim, shared=shared) for _ in blocks)
        self.after_perceptron = nn.ModuleList(AdapterPair(*widths, dim=dim, shared=shared) for _ in blocks)

    def forward(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features [B, T, E] and word features [Q, W, E]."""
        return self.video(features), self.text(tokens_QW)

    def video(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E] of the adapted image tower."""
        tower = self.borrowed.tower
        with tower.own_precision():
            tokens_NSD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        for index, (attention, mlp) in enumerate(zip(self.after_attention, self.after_perceptron, strict=True)):
            with tower.own_precision():
                branch_NSD = tower.trunk.attention_branch(index, tokens_NSD)
            tokens_NSD = tokens_NSD + attention.adapt_image(branch_NSD)  # type: ignore[operator]
            with tower.own_precision():
                branch_NSD = tower.trunk.mlp_branch(index, tokens_NSD)
            tokens_NSD = tokens_NSD + mlp.adapt_image(branch_NSD)  # type: ignore[operator]
        with tower.own_precision():
            frames_NE = tower.trunk.project(tower.trunk.pool(tokens_NSD))
        return frames_NE.float().unflatten(0, features.video_BTCHW.shape[:2])

    def text(self, tokens_QW: Tensor) -> Tensor:
        """Word features [Q, W, E] of the adapted text tower."""
        tower = self.text_tower
        tokens_QWD = tower.embed(tokens_QW)
        for index, (attention, mlp) in enumerate(zip(self.after_attention, self.after_perceptron, strict=True)):
            tokens_QWD = tokens_QWD + attention.adapt_text(tower.attention_branch(index, tokens_QWD))  # type: ignore[operator]
            tokens_QWD = tokens_QWD + mlp.adapt_text(tower.mlp_branch(index, tokens_QWD))  # type: ignore[operator]
        return tower.finish(tokens_QWD)


def _initialize(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
        nn.init.zeros_(layer.bias)
