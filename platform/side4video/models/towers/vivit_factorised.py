"""ViViT's factorised encoder (Arnab et al., 2021, arXiv 2103.15691, model 2), on blocks of timm.

Tubelets of 2 x 16 x 16. A spatial encoder reads each time step by itself, with a class token and learned positions. A
temporal encoder reads the class tokens of all time steps, with a class token and positions of its own, whose value
after the final norm is the feature of the clip. Its blocks belong to the pooling: those that can be read are the
spatial encoder's, whose tokens have not met those of other time steps.

Legend: B clips, C channels, H, W pixels, t time steps, P patches of a time step, N = B·t, D width, S tokens: 1 + P of a
time step, t (1 + P) of a clip (the class tokens of all time steps, then the patches, step by step).
"""

from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from einops import rearrange
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from side4video.models.backbones.clip_sizes import TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk, check_no_attention, without_head

POSITION_STD = 0.02


class Encoder(nn.Module):
    """A class token, positions, pre-norm blocks with the tanh form of GELU, and a norm."""

    def __init__(self, sizes: TransformerSizes, *, layers: int, tokens: int, epsilon: float) -> None:
        super().__init__()
        self.class_token_D = nn.Parameter(torch.empty(sizes.width))
        self.positions_SD = nn.Parameter(torch.empty(1 + tokens, sizes.width))
        self.blocks = nn.ModuleList(
            Block(
                sizes.width,
                sizes.heads,
                mlp_ratio=sizes.mlp_ratio,
                qkv_bias=True,
                act_layer=cast("type[nn.Module]", partial(nn.GELU, approximate="tanh")),
                norm_layer=cast("type[nn.Module]", partial(nn.LayerNorm, eps=epsilon)),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(sizes.width, eps=epsilon)

    def enter(self, tokens_NSD: Tensor) -> Tensor:
        """Tokens [N, 1 + S, D] that enter the first block: the class token, then the given ones, with positions."""
        class_N1D = self.class_token_D.expand(tokens_NSD.shape[0], 1, -1)
        return torch.cat([class_N1D, tokens_NSD], dim=1) + self.positions_SD


class FactorisedViViT(nn.Module):
    """The patch embedding and both encoders."""

    def __init__(self, sizes: TransformerSizes, shape: TowerShape, *, temporal_layers: int) -> None:
        super().__init__()
        tubelet = (sizes.tubelet_frames, sizes.patch_size, sizes.patch_size)
        steps = shape.time_steps(shape.clip_frames or sizes.tubelet_frames)
        encoder = partial(Encoder, sizes, epsilon=shape.layer_norm_epsilon)
        self.patch_embedding = nn.Conv3d(3, sizes.width, tubelet, stride=tubelet)
        self.spatial = encoder(layers=sizes.layers, tokens=shape.patches)
        self.temporal = encoder(layers=temporal_layers, tokens=steps)


class FactorisedViViTTrunk(ClipTrunk):
    """The network without its classifier."""

    def __init__(self, sizes: TransformerSizes, shape: TowerShape, *, temporal_layers: int) -> None:
        super().__init__()
        self.patches = shape.patches
        with torch.device("meta"):
            self.visual = FactorisedViViT(sizes, shape, temporal_layers=temporal_layers)
        self.blocks = list(self._network.spatial.blocks)

    @property
    def norm(self) -> nn.Module:
        """The spatial encoder's final norm; see `ClipTrunk`."""
        return self._network.spatial.norm

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `ClipTrunk`."""
        embedded = self._network.patch_embedding(frames_NCHW.transpose(1, 2))
        patches_NPD = rearrange(embedded, "B D t y x -> (B t) (y x) D")
        return self._join(self._network.spatial.enter(patches_NPD), clips=embedded.shape[0])

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """See `ClipTrunk`. Each time step is by itself."""
        check_no_attention(read)
        steps_NSD = self.blocks[index](self._split(tokens_NPD))
        return self._join(steps_NSD, clips=tokens_NPD.shape[0])

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The temporal encoder's class token after its norm: [B, D]."""
        temporal, steps = self._network.temporal, self._steps(tokens_NPD)
        tokens_BtD = temporal.enter(self.norm(tokens_NPD[:, :steps]))
        for block in temporal.blocks:
            tokens_BtD = block(tokens_BtD)
        return temporal.norm(tokens_BtD[:, 0])

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors under the names of this module; there are no published files of torch."""
        return without_head(state, self.visual.state_dict(), ignored=("head.", "classifier."))

    def initial_std(self, name: str) -> float | None:
        """Xavier's for matrices and kernels, 0.02 for positions, zeros for class tokens (the authors' code)."""
        if name.endswith("class_token_D"):
            return 0.0
        if name.endswith("positions_SD"):
            return POSITION_STD
        if name.endswith("bias") or "norm" in name:
            return None
        size = self.visual.get_parameter(name).shape
        area = size[2:].numel()
        # Queries, keys and values are three square matrices.
        outputs = size[1] if name.endswith("qkv.weight") else size[0]
        return (2 / (area * (size[1] + outputs))) ** 0.5

    @property
    def _network(self) -> FactorisedViViT:
        return cast("FactorisedViViT", self.visual)

    def _steps(self, tokens_BSD: Tensor) -> int:
        return tokens_BSD.shape[1] // (1 + self.patches)

    def _split(self, tokens_BSD: Tensor) -> Tensor:
        """Each time step by itself: [B·t, 1 + P, D]."""
        steps = self._steps(tokens_BSD)
        class_BtD, patches_BSD = tokens_BSD[:, :steps], tokens_BSD[:, steps:]
        patches_BtPD = patches_BSD.unflatten(1, (steps, self.patches))
        return torch.cat([class_BtD.unsqueeze(2), patches_BtPD], dim=2).flatten(0, 1)

    def _join(self, steps_NSD: Tensor, *, clips: int) -> Tensor:
        """All tokens of a clip: [B, S, D]."""
        tokens_BtSD = steps_NSD.unflatten(0, (clips, -1))
        return torch.cat([tokens_BtSD[:, :, 0], tokens_BtSD[:, :, 1:].flatten(1, 2)], dim=1)
