"""Where the frozen tower and the side network look in each frame (Appendix C, Figure 6), in their last blocks.

The paper shows the maps and does not say how they are made. Here a map is what each patch counts in the representation:

- **The tower.** Its frame feature is the last block's [CLS] token, so the map is that token's row of the last block's
  attention: the share of it that goes to each patch, the mean over heads.
- **The side network.** Its feature is the mean over the patches (eq. 3; eq. 4), and the mean of `A V` over the tokens
  that look is `mean(A) V`: the map is the attention that each patch receives in the last block's spatial attention, the
  mean over heads and over all patches that look. Where the stream carries a token of its own that represents the clip
  (`representation: vit-cls` or `extra-cls`), it is that token's row, as in the tower.

What goes to [CLS] tokens (the tower's own, and the one that the side network sees shifted over time) is in no patch,
so a map sums to less than one.

Legend: B clips, T frames, N = B·T, h heads, Q tokens that look, S tokens that are looked at, P patches, G patches along
a side, D channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from side4video.models.feature_request import FeatureRequest
from side4video.models.layers.attention_weights import attention_of
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.side4video import Side4Video
from side4video.models.towers.frozen_tower import FrozenTower

TOWER_MAP = "attention of [CLS] over the patches in the last block, averaged over heads"
SIDE_MAP = "attention that each patch receives in the last block, averaged over heads and over the patches that look"
OWN_CLASS_MAP = "attention of the clip's own token over the patches in the last block, averaged over heads"


@dataclass(frozen=True)
class AttentionMaps:
    """Shares of the attention, fp32, on the CPU."""

    tower_BTGG: Tensor
    side_BTGG: Tensor


def tower_reads(tower: FrozenTower) -> FeatureRequest:
    """What a map needs of the tower: what enters its last block."""
    return FeatureRequest(tokens=frozenset({tower.shape.depth - 2}))  # of a tower of one block: `EMBEDDING`


@torch.no_grad()
def tower_map(tower: FrozenTower, features: FrozenFeatures) -> Tensor:
    """The tower's map [B, T, G, G].

    Args:
        tower: Whose last block computes its attention once more.
        features: With what `tower_reads` asks for. Tokens that are kept in eight bits are read as students read them.

    Raises:
        Side4VideoError: The weights are not what the block computed with.
    """
    last = tower.shape.depth - 1
    tokens_NPD = features.read(last - 1)
    with tower.own_precision():
        weights_NhQS = attention_of(tower.trunk.attention_branch, last, tokens_NPD)
    map_NP = weights_NhQS[:, :, 0, -tower.shape.patches :].mean(dim=1)
    return _as_pictures(map_NP, features, tower.shape.grid)


class SideReading:
    """Notes what enters the spatial attention of the last side block; use it as a context manager around a forward."""

    def __init__(self, side: Side4Video, tower: FrozenTower) -> None:
        self._side, self._grid = side, tower.shape.grid
        self._entered: tuple[Any, ...] = ()

    def __enter__(self) -> "SideReading":
        self._hook = self._attention.register_forward_pre_hook(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    @property
    def _attention(self) -> Any:
        return self._side.blocks[-1].attention

    def _note(self, module: Any, entered: tuple[Any, ...]) -> None:  # noqa: ARG002 - torch's signature
        self._entered = entered

    @torch.no_grad()
    def map(self, features: FrozenFeatures) -> Tensor:
        """The side network's map [B, T, G, G], once it has run.

        Raises:
            ValueError: It has not run.
            Side4VideoError: The weights are not what the block computed with.
        """
        if not self._entered:
            raise ValueError("the side network has not run yet")
        weights_NhQS = attention_of(self._attention, *self._entered)
        looking_NhS = weights_NhQS.mean(dim=2) if self._side.representation == "gap" else weights_NhQS[:, :, 0]
        return _as_pictures(looking_NhS[..., -(self._grid**2) :].mean(dim=1), features, self._grid)


def side_definition(side: Side4Video) -> str:
    """What the side network's map is, in words."""
    return SIDE_MAP if side.representation == "gap" else OWN_CLASS_MAP


def _as_pictures(map_NP: Tensor, features: FrozenFeatures, grid: int) -> Tensor:
    return map_NP.unflatten(1, (grid, grid)).unflatten(0, features.video_BTCHW.shape[:2]).float().cpu()
