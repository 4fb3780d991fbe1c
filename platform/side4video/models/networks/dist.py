"""The DiST network (Qing et al., 2023, arXiv 2309.07911, section 3), on tokens with their channels last.

Norms, initial values and residual connections are not in the paper; they are the authors' code's. Registers of the
tower are not used.

Legend: B clips, U frames of a clip, T = U / alpha frames that the tower sees, N = B·T, P patches of a frame, S = P + 1
tokens with the class token, D tower width, I channels of the integration branch, M of the temporal branch, K frames of
a kernel, E channels shared with the text tower, G groups of tokens, L tokens of a group, O outputs of a layer, h heads,
k channels of a head.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.precision import compute_dtype
from side4video.models.networks.contract import FrozenFeatures

HEAD_WIDTH = 64
INITIAL_STD = 0.02
POOLING_RATIO = 4


def quick_gelu(x: Tensor) -> Tensor:
    """`x * sigmoid(1.702 x)`, CLIP's activation."""
    return x * torch.sigmoid(1.702 * x)


def normalised(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    """`norm(tokens)`, computed in the weights' precision and returned in autocast's, on every device."""
    wide = tokens.to(norm.weight.dtype)
    return F.layer_norm(wide, norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(compute_dtype(norm.weight))


def add_over_time(parts: Sequence[Tensor]) -> Tensor:
    """A zero-padded convolution over time, from the products [B, T, P, O] of each of its K slices with every frame.

    The product of slice i is added K // 2 - i frames later.
    """
    middle, frames = len(parts) // 2, parts[0].shape[1]
    total = parts[middle]
    for index, part in enumerate(parts):
        later = middle - index
        if 0 < later < frames:
            total = total + F.pad(part[:, :-later], (0, 0, 0, 0, later, 0))
        elif 0 < -later < frames:
            total = total + F.pad(part[:, -later:], (0, 0, 0, 0, 0, -later))
    return total


class TemporalConvolution(nn.Module):
    """A dense (K, 1, 1) convolution, zero padded in time, with bias: [B, T, P, I] to [B, T, P, O]."""

    def __init__(self, inputs: int, outputs: int, *, frames: int) -> None:
        super().__init__()
        self.weight_KOI = nn.Parameter(torch.empty(frames, outputs, inputs))
        self.bias_O = nn.Parameter(torch.zeros(outputs))
        nn.init.trunc_normal_(self.weight_KOI, std=INITIAL_STD)

    def forward(self, tokens_BTPI: Tensor) -> Tensor:
        """Tokens mixed over time and channels."""
        products = F.linear(tokens_BTPI, self.weight_KOI.flatten(0, 1))
        return add_over_time(products.chunk(len(self.weight_KOI), dim=-1)) + self.bias_O.to(products.dtype)


class TemporalStem(nn.Module):
    """A (K, p, p) convolution of stride (1, p, p), zero padded in time, with bias: frames to patch tokens."""

    def __init__(self, dim: int, *, patch_size: int, frames: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.convolution = TemporalConvolution(3 * patch_size**2, dim, frames=frames)

    def forward(self, video_BUCHW: Tensor) -> Tensor:
        """Normalised frames to tokens [B, U, P, M], patches row by row."""
        size = self.patch_size
        patches = rearrange(video_BUCHW, "b u c (h p) (w q) -> b u (h w) (c p q)", p=size, q=size)
        return self.convolution(patches.to(self.convolution.weight_KOI.dtype))


class TemporalBlock(nn.Module):
    """A block of the temporal branch: a convolution over time, one over space, and a residual connection."""

    def __init__(self, dim: int, *, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(dim)
        self.over_time = TemporalConvolution(dim, dim, frames=3)
        self.over_space = nn.Conv2d(dim, dim, kernel_size=3, padding=1)

    def forward(self, tokens_BUPM: Tensor) -> Tensor:
        """Tokens after the block, activation function included."""
        mixed_BUPM = quick_gelu(self.over_time(normalised(tokens_BUPM, self.norm)))
        # A channels-last image, and a view.
        image = rearrange(mixed_BUPM, "b u (h w) m -> (b u) m h w", h=self.grid)
        spread = rearrange(self.over_space(image), "(b u) m h w -> b u (h w) m", u=tokens_BUPM.shape[1])
        return quick_gelu(tokens_BUPM + spread)


class IntegrationBlock(nn.Module):
    """Two pre-norm MLPs in parallel; one of them, `dim / 4` wide, mixes neighbouring frames."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.enter = nn.Linear(dim, dim)
        self.leave = nn.Linear(dim, dim)
        self.temporal_norm = nn.LayerNorm(dim)
        self.make_temporal_layers(dim, dim // 4)
        self.register_load_state_dict_pre_hook(_fit_earlier_weights)

    def make_temporal_layers(self, dim: int, width: int) -> None:
        """Make the layers that mix frames anew, `width` channels wide."""
        self.temporal_enter = nn.Linear(dim, width)
        self.temporal_mix = TemporalConvolution(width, width, frames=3)
        self.temporal_leave = nn.Linear(width, dim)

    def forward(self, tokens_BTSI: Tensor) -> Tensor:
        """The sum of both outputs, without a residual connection."""
        # Cast once: both norms save their input for backward, and share one tensor.
        wide_BTSI = tokens_BTSI.to(self.norm.weight.dtype)
        spatial = self.leave(quick_gelu(self.enter(normalised(wide_BTSI, self.norm))))
        entered = self.temporal_enter(normalised(wide_BTSI, self.temporal_norm))
        return spatial + self.temporal_leave(quick_gelu(self.temporal_mix(entered)))


def _fit_earlier_weights(block: IntegrationBlock, state: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Version 0.1.0 took the width of the temporal branch, which is another one if it is not a quarter of `dim`."""
    stored = state.get(f"{prefix}temporal_enter.weight")
    if stored is not None and stored.shape[0] != block.temporal_enter.out_features:
        block.make_temporal_layers(stored.shape[1], stored.shape[0])


class Stage(nn.Module):
    """One tower block's part of the network: the exchange between the branches, and a block of each."""

    def __init__(self, tower: TowerShape, *, frames: int, alpha: int, dim: int, temporal_dim: int) -> None:
        super().__init__()
        self.tower, self.frames, self.alpha = tower, frames, alpha
        self.temporal = TemporalBlock(temporal_dim, grid=tower.grid)
        self.down = nn.Linear(tower.width, dim)
        self.class_TI = nn.Parameter(torch.empty(frames, dim))
        # A convolution over `alpha` frames with stride `alpha`, as one product of their concatenated channels.
        self.to_integration = nn.Linear(alpha * temporal_dim, dim)
        self.to_temporal = nn.Linear(dim, temporal_dim)
        self.integration = IntegrationBlock(dim)
        nn.init.trunc_normal_(self.class_TI, std=INITIAL_STD)

    def forward(
        self, tower_NSD: Tensor, temporal_BUPM: Tensor, residual_BTSI: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The input of `integration` [B, T, S, I], the tower's part of it, and the temporal stream.

        The last two are the inputs of `inform`, which the last stage does not need.
        """
        temporal_BUPM = self.temporal(temporal_BUPM)
        tower_NSD = self.tower.without_registers(tower_NSD)
        read_BTSI = self.down(tower_NSD.to(self.down.weight.dtype)).unflatten(0, (-1, self.frames))
        if residual_BTSI is not None:
            read_BTSI = read_BTSI + residual_BTSI
        motion_BTPI = self.to_integration(rearrange(temporal_BUPM, "b (t a) p m -> b t p (a m)", a=self.alpha))
        class_BT1I = self.class_TI.to(motion_BTPI.dtype).unsqueeze(1).expand(motion_BTPI.shape[0], -1, -1, -1)
        joined_BTSI = read_BTSI + torch.cat([class_BT1I, motion_BTPI], dim=2)
        return joined_BTSI, read_BTSI, temporal_BUPM

    def inform(self, temporal_BUPM: Tensor, read_BTSI: Tensor) -> Tensor:
        """The temporal stream plus the tower's patches, each repeated for `alpha` frames."""
        return temporal_BUPM + self.to_temporal(read_BTSI[:, :, 1:]).repeat_interleave(self.alpha, dim=1)


class Pooling(nn.Module):
    """Cross-attention of one query over its group of tokens, then an MLP. Query, keys and values share one norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_WIDTH
        self.norm = nn.LayerNorm(dim)
        # Query, key and value in one matrix, as in torch's attention: Xavier's initial values depend on its shape.
        self.weight_3II = nn.Parameter(torch.empty(3 * dim, dim))
        self.bias_3I = nn.Parameter(torch.zeros(3 * dim))
        self.leave = nn.Linear(dim, dim)
        self.perceptron_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, POOLING_RATIO * dim)
        self.narrow = nn.Linear(POOLING_RATIO * dim, dim)
        nn.init.xavier_uniform_(self.weight_3II)

    def forward(self, query_GI: Tensor, tokens_GLI: Tensor) -> Tensor:
        """Queries [G, I] after attention and MLP."""
        dim = query_GI.shape[-1]
        query = F.linear(normalised(query_GI, self.norm), self.weight_3II[:dim], self.bias_3I[:dim])
        key_value = F.linear(normalised(tokens_GLI, self.norm), self.weight_3II[dim:], self.bias_3I[dim:])
        query_Gh1k = rearrange(query, "G (h k) -> G h 1 k", h=self.heads)
        key, value = rearrange(key_value, "G L (kv h k) -> kv G h L k", kv=2, h=self.heads).unbind(0)
        attended = F.scaled_dot_product_attention(query_Gh1k, key, value)
        query_GI = query_GI + self.leave(attended.flatten(1))
        return query_GI + self.narrow(quick_gelu(self.widen(normalised(query_GI, self.perceptron_norm))))


class PoolingLayer(nn.Module):
    """Pooling over space for each frame, then over the frames."""

    def __init__(self, dim: int, *, frames: int) -> None:
        super().__init__()
        self.over_space = Pooling(dim)
        self.positions_TI = nn.Parameter(torch.empty(frames, dim))
        self.over_time = Pooling(dim)
        nn.init.trunc_normal_(self.positions_TI, std=INITIAL_STD)

    def forward(self, frame_NI: Tensor, clip_BI: Tensor, tokens_BTSI: Tensor) -> tuple[Tensor, Tensor]:
        """The frames' queries and the clips' queries after this layer."""
        frame_NI = self.over_space(frame_NI, tokens_BTSI.flatten(0, 1))
        frames_BTI = frame_NI.unflatten(0, (clip_BI.shape[0], -1)) + self.positions_TI
        return frame_NI, self.over_time(clip_BI, frames_BTI)


class DiST(nn.Module):
    """Both branches, pooled to one feature in the space shared with the text tower.

    The last stage's `to_temporal` layer has no effect. It exists because the paper counts its parameters; it gets a
    gradient of zero, so that DDP does not need `find_unused_parameters`.
    """

    def __init__(
        self,
        *,
        tower: TowerShape,
        frames: int,
        alpha: int = 2,
        dim: int = 384,
        temporal_dim: int = 96,
        pooling_layers: int = 2,
    ) -> None:
        super().__init__()
        self.output_dim = tower.output_dim
        self.tower, tower_frames = tower, frames // alpha
        self.stem = TemporalStem(temporal_dim, patch_size=tower.patch_size, frames=5)
        self.stages = nn.ModuleList(
            Stage(tower, frames=tower_frames, alpha=alpha, dim=dim, temporal_dim=temporal_dim)
            for _ in range(tower.depth)
        )
        self.frame_query_I = nn.Parameter(torch.empty(dim))
        self.clip_query_I = nn.Parameter(torch.empty(dim))
        self.pooling = nn.ModuleList(PoolingLayer(dim, frames=tower_frames) for _ in range(pooling_layers))
        self.class_down = nn.Linear(tower.width, dim)
        self.final_norm = nn.LayerNorm(dim)
        self.projection_IE = nn.Parameter(torch.randn(dim, tower.output_dim) * dim**-0.5)
        for token in (self.frame_query_I, self.clip_query_I):
            nn.init.trunc_normal_(token, std=INITIAL_STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E] of the clips."""
        temporal_BUPM = self.stem(features.normalise(features.video_BTCHW))
        residual_BTSI: Tensor | None = None
        *earlier, last = cast("list[Stage]", list(self.stages))
        for number, stage in enumerate(earlier):
            joined_BTSI, read_BTSI, temporal_BUPM = stage(features.read(number), temporal_BUPM, residual_BTSI)
            residual_BTSI = stage.integration(joined_BTSI)
            temporal_BUPM = stage.inform(temporal_BUPM, read_BTSI)
        tower_NSD = features.read(len(earlier))
        joined_BTSI, _, _ = last(tower_NSD, temporal_BUPM, residual_BTSI)
        pooled_BI = self._pool(last.integration(joined_BTSI) + joined_BTSI)
        class_BTD = self.tower.class_token_of(tower_NSD).unflatten(0, (pooled_BI.shape[0], -1))
        class_BTD = class_BTD.to(self.class_down.weight.dtype)
        clip_BI = self.final_norm(pooled_BI + self.class_down(class_BTD.mean(dim=1)))
        unused = last.to_temporal.weight.sum() + last.to_temporal.bias.sum()
        return clip_BI @ self.projection_IE + 0.0 * unused

    def _pool(self, tokens_BTSI: Tensor) -> Tensor:
        batch, frames = tokens_BTSI.shape[:2]
        frame_NI, clip_BI = self.frame_query_I.repeat(batch * frames, 1), self.clip_query_I.repeat(batch, 1)
        wide_BTSI = tokens_BTSI.to(self.final_norm.weight.dtype)
        for layer in self.pooling:
            frame_NI, clip_BI = layer(frame_NI, clip_BI, wide_BTSI)
        return clip_BI
