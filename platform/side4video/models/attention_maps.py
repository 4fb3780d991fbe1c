"""Attention maps of the frozen tower and the side network over the patches of a frame (Appendix C, Figure 6).

The paper does not define its maps. Here a map is the weight of each patch in the representation:

- **The tower.** If its frame feature is the last block's class token, the map is that token's row of the last block's
  attention, averaged over heads. Otherwise it is averaged over all queries too.
- **The side network.** Its feature is the mean over the patches (eq. 3; eq. 4), and the mean of `A V` over the queries
  is `mean(A) V`. So the map is the attention that each patch receives in the last block's spatial attention, averaged
  over heads and queries. If another token of the stream represents the clip (`representation: vit-cls` or `extra-cls`),
  the map is that token's row.

The attention to class tokens and registers is not in the map, so a map sums to less than one.

Legend: B clips, T frames, N = B·T, h heads, Q queries, S keys, P patches, G patches along a side.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from side4video.models.feature_request import FeatureRequest
from side4video.models.layers.attention_weights import attention_of
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.side4video import Side4Video
from side4video.models.towers.frozen_tower import FrozenTower

TOWER_MAP = "attention of [CLS] over the patches in the last block, averaged over heads"
SIDE_MAP = "attention that each patch receives in the last block, averaged over heads and over the patches that look"
OWN_CLASS_MAP = "attention of the clip's own token over the patches in the last block, averaged over heads"


def tower_request(tower: FrozenTower) -> FeatureRequest:
    """What `tower_map` reads: the input of the last block."""
    return FeatureRequest(tokens=frozenset({tower.shape.depth - 2}))  # `EMBEDDING` if the tower has one block


@torch.no_grad()
def tower_map(tower: FrozenTower, features: FrozenFeatures) -> Tensor:
    """The tower's map [B, T, G, G].

    The tower's last block computes its attention again. Tokens in eight bits are dequantised.

    Raises:
        Side4VideoError: The weights do not reproduce the block's output.
    """
    shape, last = tower.shape, tower.shape.depth - 1
    tokens_NPD = features.read(last - 1)
    with tower.own_precision():
        weights_NhQS = attention_of(tower.trunk.attention_branch, last, tokens_NPD)
    is_pooled_by_class = shape.pooling == "class-token"
    weights_NhS = weights_NhQS[:, :, shape.class_token] if is_pooled_by_class else weights_NhQS.mean(dim=2)
    return _as_images(weights_NhS[..., shape.prefix_tokens :], features, shape.grid)


class SideReading:
    """Records the inputs of the last side block's spatial attention; a context manager around a forward."""

    def __init__(self, side: Side4Video, tower: FrozenTower) -> None:
        self._side, self._grid = side, tower.shape.grid
        self._inputs: tuple[Any, ...] = ()

    def __enter__(self) -> "SideReading":
        self._hook = self._attention.register_forward_pre_hook(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    @property
    def _attention(self) -> Any:
        return self._side.blocks[-1].attention

    def _record(self, module: Any, inputs: tuple[Any, ...]) -> None:  # noqa: ARG002 - torch's signature
        self._inputs = inputs

    @torch.no_grad()
    def map(self, features: FrozenFeatures) -> Tensor:
        """The side network's map [B, T, G, G], after a forward.

        Raises:
            ValueError: There was no forward.
            Side4VideoError: The weights do not reproduce the block's output.
        """
        if not self._inputs:
            raise ValueError("the side network has not run yet")
        weights_NhQS = attention_of(self._attention, *self._inputs)
        weights_NhS = weights_NhQS.mean(dim=2) if self._side.representation == "gap" else weights_NhQS[:, :, 0]
        return _as_images(weights_NhS[..., -(self._grid**2) :], features, self._grid)


def tower_definition(tower: FrozenTower) -> str:
    """A description of the tower's map."""
    return TOWER_MAP if tower.shape.pooling == "class-token" else SIDE_MAP


def side_definition(side: Side4Video) -> str:
    """A description of the side network's map."""
    return SIDE_MAP if side.representation == "gap" else OWN_CLASS_MAP


def _as_images(weights_NhP: Tensor, features: FrozenFeatures, grid: int) -> Tensor:
    """The mean over heads as [B, T, G, G]."""
    batch = len(features.video_BTCHW)
    return rearrange(weights_NhP.mean(dim=1), "(B T) (H W) -> B T H W", B=batch, H=grid).float().cpu()
