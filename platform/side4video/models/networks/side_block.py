"""One block of the Side4Video network (section 3.3, Figure 3), with three ways to save its activations.

Legend: B clips, T frames, N = B·T, P tokens of the side stream in a frame (patches, after the stream's own token if
there is one), S tokens of the tower in a frame (prefix tokens first), D tower width, d side width (written D where
there are no tower tokens), h heads, k channels of a head.

`recompute` chooses what backward gets:

- `none`: the inputs of every operation, the MLP's hidden channels included.
- `selective`: the same without the hidden channels, which are the largest and cheapest to recompute.
- `block`: the block's input and the tower's tokens. Backward runs the block again up to its MLP, and computes the MLP
  in parts.

Gradients and batch statistics are the same for all three: recomputation does not update the statistics.
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.attention import FrameAttention, TimeAttention, split_class_token
from side4video.models.layers.folded import affine_linear, frozen_norm_linear
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.layers.mlp import MLP, mlp_gradients
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.normalization import layer_norm
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution, shift_over_time, temporal_linear
from side4video.models.layers.temporal_gate import TemporalGate

Recompute = Literal["none", "selective", "block"]
Mixing = Literal["add", "mean", "gate"]
Temporal = Literal["conv", "attention", "none"]
Norms = Literal["pre", "post"]
Shifted = Literal["class", "pooled", "mean"]
"""The token of a frame that is shifted over time: the class token, the tower's pooled feature, the mean patch."""
RESIDUAL_SCALE = 24**-0.5
"""Scale of the initial residual projections in the authors' code, for every tower: (twice ViT-B's depth)^-1/2."""
GATE_TEMPERATURE = 0.1
"""Temperature of the learned gate (LST's). A gate parameter of zero is a share of one half."""


class Down(nn.Module):
    """Down(Norm(Z)) of eq. 1; with `post`, Norm(Down(Z)). Each tapped block has its own."""

    def __init__(self, width: int, dim: int, *, norms: Norms) -> None:
        super().__init__()
        self.is_post = norms == "post"
        self.norm = nn.LayerNorm(dim if self.is_post else width)
        self.projection = nn.Linear(width, dim)

    def forward(self, tokens: Tensor | Int8Tokens) -> Tensor:
        """Tower tokens [N, S, D] to side tokens [N, S, d]."""
        if not self.is_post:
            return frozen_norm_linear(tokens, self.norm, self.projection)
        return layer_norm(frozen_norm_linear(tokens, None, self.projection), self.norm)


class TemporalConvolution(nn.Module):
    """Pointwise, depthwise over time, pointwise (section 3.3), without activation functions; with a gate if asked."""

    def __init__(self, dim: int, *, norms: Norms, is_gated: bool = False) -> None:
        super().__init__()
        self.is_post = norms == "post"
        self.norm = TokenBatchNorm(dim)
        # A Linear has the initial values of a 1x1x1 Conv3d: uniform within 1/sqrt(dim), bias too.
        self.enter = nn.Linear(dim, dim)
        self.mix = DepthwiseTemporalConvolution(dim)
        self.leave = nn.Linear(dim, dim)
        self.gate = TemporalGate(dim) if is_gated else None

    def forward(self, tokens_BTPD: Tensor, *, update: bool) -> Tensor:
        """The branch's output, without the residual connection; `update` as in `batch_normalise`."""
        branch_BTPD = self._convolve(tokens_BTPD, update=update)
        return branch_BTPD if self.gate is None else self.gate(branch_BTPD, update=update)

    def _convolve(self, tokens_BTPD: Tensor, *, update: bool) -> Tensor:
        if self.is_post:
            entered_BTPD = affine_linear(tokens_BTPD, None, self.enter)
            return self.norm(temporal_linear(entered_BTPD, self.mix, self.leave), update=update)
        normalised_BTPD = self.norm.normalise(tokens_BTPD, update=update)
        return temporal_linear(affine_linear(normalised_BTPD, self.norm, self.enter), self.mix, self.leave)


class TemporalAttention(nn.Module):
    """Pre-norm attention of each position over the frames of its clip (Table 9b)."""

    def __init__(self, dim: int, *, norms: Norms, is_gated: bool = False) -> None:  # noqa: ARG002
        super().__init__()
        self.attention = TimeAttention(dim, norms=norms, residual_scale=RESIDUAL_SCALE)

    def forward(self, tokens_BTPD: Tensor, *, update: bool) -> Tensor:  # noqa: ARG002
        """The branch's output, without the residual connection."""
        return self.attention(tokens_BTPD)


class SideBlock(nn.Module):
    """Fusion with the tower, temporal mixing, spatial attention, MLP."""

    def __init__(
        self,
        tower: TowerShape,
        dim: int,
        *,
        mlp_ratio: int = 4,
        mixing: Mixing = "add",
        temporal: Temporal = "conv",
        gates_temporal: bool = False,
        shifted: Shifted | None = "class",
        leading: Literal["none", "tower", "own"] = "none",
        norms: Norms = "pre",
        recompute: Recompute = "block",
    ) -> None:
        super().__init__()
        self.tower = tower
        self.mixing, self.shifted, self.leading, self.recompute = mixing, shifted, leading, recompute
        self.is_post = norms == "post"
        self.gate = nn.Parameter(torch.zeros(())) if mixing == "gate" else None
        self.down = Down(tower.width, dim, norms=norms)
        kinds = {"conv": TemporalConvolution, "attention": TemporalAttention}
        self.temporal = kinds[temporal](dim, norms=norms, is_gated=gates_temporal) if temporal != "none" else None
        self.attention = FrameAttention(dim, norms=norms, residual_scale=RESIDUAL_SCALE)
        self.perceptron_norm = TokenBatchNorm(dim)
        self.perceptron = MLP(dim, ratio=mlp_ratio)
        if not self.is_post:
            nn.init.normal_(self.perceptron.enter.weight, std=(2 * dim) ** -0.5)
            nn.init.normal_(self.perceptron.leave.weight, std=dim**-0.5 * RESIDUAL_SCALE)

    def forward(
        self,
        side_BTPD: Tensor,
        tower: Tensor | Int8Tokens,
        spatial_PD: Tensor | None,
        pooled_BTD: Tensor | None = None,
    ) -> Tensor:
        """The side stream [B, T, P, d] after this block, from the tapped tokens [N, S, D].

        `pooled_BTD` are the tower's features of the frames, if they are shifted.
        """
        if self.recompute == "block" and torch.is_grad_enabled():
            return recomputed(self, side_BTPD, tower, spatial_PD, pooled_BTD)
        return self.run(side_BTPD, tower, spatial_PD, pooled_BTD, update=True)

    def run(
        self,
        side_BTPD: Tensor,
        tower: Tensor | Int8Tokens,
        spatial_PD: Tensor | None,
        pooled_BTD: Tensor | None,
        *,
        update: bool,
    ) -> Tensor:
        """The whole block; `update` as in `batch_normalise`."""
        attended_BTPD, normalised_BTPD = self.run_attention(side_BTPD, tower, spatial_PD, pooled_BTD, update=update)
        saves_hidden = self.recompute == "none"
        if self.is_post:
            branch_BTPD = self.perceptron(normalised_BTPD, None, saves_hidden=saves_hidden)
            return attended_BTPD + self.perceptron_norm(branch_BTPD, update=update)
        return attended_BTPD + self.perceptron(normalised_BTPD, self.perceptron_norm, saves_hidden=saves_hidden)

    def run_attention(
        self,
        side_BTPD: Tensor,
        tower: Tensor | Int8Tokens,
        spatial_PD: Tensor | None,
        pooled_BTD: Tensor | None,
        *,
        update: bool,
    ) -> tuple[Tensor, Tensor]:
        """The stream before the MLP, and the MLP's input."""
        read_BTSD = self.down(tower).unflatten(0, side_BTPD.shape[:2])
        if self.leading == "tower":
            cls_BTD, patches_BTPD = self.tower.class_token_of(read_BTSD), self.tower.patch_tokens(read_BTSD)
            side_BTPD = self._mix(side_BTPD, self.tower.without_registers(read_BTSD))
        else:
            cls_BTD, patches_BTPD = split_class_token(read_BTSD, self.tower)
            side_BTPD = self._fuse(side_BTPD, patches_BTPD)
        if self.temporal is not None:
            side_BTPD = self._over_time(side_BTPD, update=update)
        if self.shifted == "pooled" and pooled_BTD is not None:
            frame_BTD = self.down(pooled_BTD)
        else:
            frame_BTD = patches_BTPD.mean(dim=2) if self.shifted == "mean" else cls_BTD
        shifted_BTD = shift_over_time(frame_BTD) if self.shifted and frame_BTD is not None else None
        side_BTPD = side_BTPD + self.attention(side_BTPD, shifted_BTD, spatial_PD)
        if self.is_post:
            return side_BTPD, side_BTPD
        return side_BTPD, self.perceptron_norm.normalise(side_BTPD, update=update)

    def _fuse(self, side_BTPD: Tensor, patches_BTPD: Tensor) -> Tensor:
        """Eq. 2, or another `mixing`, for the patches."""
        if self.leading == "own":
            return torch.cat([side_BTPD[:, :, :1], self._mix(side_BTPD[:, :, 1:], patches_BTPD)], dim=2)
        return self._mix(side_BTPD, patches_BTPD)

    def _mix(self, side_BTPD: Tensor, read_BTPD: Tensor) -> Tensor:
        if self.mixing == "add":
            return side_BTPD + read_BTPD
        if self.gate is None:
            return torch.lerp(side_BTPD, read_BTPD, 0.5)
        return torch.lerp(read_BTPD, side_BTPD, torch.sigmoid(self.gate / GATE_TEMPERATURE).to(side_BTPD.dtype))

    def _over_time(self, side_BTPD: Tensor, *, update: bool) -> Tensor:
        temporal = cast("TemporalConvolution | TemporalAttention", self.temporal)
        if self.leading == "none":
            return side_BTPD + temporal(side_BTPD, update=update)
        patches_BTPD = side_BTPD[:, :, 1:]
        return torch.cat([side_BTPD[:, :, :1], patches_BTPD + temporal(patches_BTPD, update=update)], dim=2)


def recomputed(
    block: SideBlock,
    side_BTPD: Tensor,
    tower: Tensor | Int8Tokens,
    spatial_PD: Tensor | None,
    pooled_BTD: Tensor | None,
) -> Tensor:
    """Run `block`; save only its input and the tower's tokens for backward."""
    parts = (tower.codes_NPD, tower.scales_NPG) if isinstance(tower, Int8Tokens) else (tower, None)
    dtype = compute_dtype(block.perceptron.enter.weight)
    tensors = () if block.is_post else block.perceptron.tensors(block.perceptron_norm)
    apart = {id(tensor) for tensor in tensors}
    others = [parameter for parameter in block.parameters() if id(parameter) not in apart]
    return _Recomputed.apply(block, dtype, len(tensors), side_BTPD, *parts, pooled_BTD, spatial_PD, *tensors, *others)


class _Recomputed(torch.autograd.Function):
    """Forward without a graph; backward runs the block again with one, and computes the MLP in parts."""

    @staticmethod
    def forward(ctx: Any, block: SideBlock, dtype: torch.dtype, count: int, *inputs: Any) -> Tensor:
        side_BTPD, codes, scales, pooled_BTD, spatial_PD, *parameters = inputs
        ctx.block, ctx.dtype, ctx.count = block, dtype, count
        ctx.save_for_backward(side_BTPD, codes, scales, pooled_BTD, spatial_PD, *parameters)
        tower = codes if scales is None else Int8Tokens(codes, scales)
        return block.run(side_BTPD, tower, spatial_PD, pooled_BTD, update=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        block, dtype, gradient_BTPD = ctx.block, ctx.dtype, gradients[0]
        side_BTPD, codes, scales, pooled_BTD, spatial_PD, *parameters = ctx.saved_tensors
        tower = codes if scales is None else Int8Tokens(codes, scales)
        kind = gradient_BTPD.device.type
        autocast = torch.autocast(kind, dtype=dtype, enabled=dtype != block.perceptron.enter.weight.dtype)
        side_BTPD = side_BTPD.detach().requires_grad_()
        tensors, others = tuple(parameters[: ctx.count]), parameters[ctx.count :]
        inputs = [side_BTPD, *([] if spatial_PD is None else [spatial_PD]), *others]
        with torch.enable_grad(), autocast:
            if block.is_post:
                outputs = [block.run(side_BTPD, tower, spatial_PD, pooled_BTD, update=False)]
            else:
                outputs = list(block.run_attention(side_BTPD, tower, spatial_PD, pooled_BTD, update=False))
        gradients_of_mlp: tuple[Tensor, ...] = ()
        output_gradients = [gradient_BTPD]
        if not block.is_post:
            normalised_gradient, *rest = mlp_gradients(outputs[1].detach(), gradient_BTPD, tensors, dtype)
            gradients_of_mlp = tuple(rest)
            output_gradients.append(normalised_gradient)
        found = list(torch.autograd.grad(outputs, inputs, output_gradients, allow_unused=True))
        side_gradient = found.pop(0)
        spatial_gradient = None if spatial_PD is None else found.pop(0)
        return None, None, None, side_gradient, None, None, None, spatial_gradient, *gradients_of_mlp, *found
