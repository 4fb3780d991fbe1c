"""Linear layers fused with the affine part of the norm before them.

`linear(norm(x)) = normalise(x) @ (weight * gain).T + (bias + weight @ shift)`: the affine part needs no pass over the
tokens and no saved tensor, and its gradients follow from the weight's.

Legend: any leading dimensions, M rows in total, I inputs, O outputs, G groups of channels with one scale each.
"""

from typing import Any

import torch
from torch import Tensor, nn

from side4video.models.layers.int8 import Int8Tokens
from side4video.models.layers.normalization import layer_normalise_frozen
from side4video.models.layers.precision import compute_dtype, without_autocast
from side4video.models.layers.product import product, weight_gradient


def affine_linear(x_MI: Tensor, norm: nn.Module | None, layer: nn.Linear) -> Tensor:
    """`layer(gain * x + shift)` with the gain and shift of `norm`, for a normalised `x`."""
    gain_I, shift_I = affine_of(norm, layer)
    return _AffineLinear.apply(x_MI, gain_I, shift_I, layer.weight, layer.bias, compute_dtype(layer.weight))


def frozen_norm_linear(tokens: Tensor | Int8Tokens, norm: nn.LayerNorm | None, layer: nn.Linear) -> Tensor:
    """`layer(norm(tokens))`, or `layer(tokens)` without a norm, for tokens without a gradient.

    Only the tokens are saved, which exist anyway; backward normalises them again.
    """
    parts = (tokens.codes_NPD, tokens.scales_NPG) if isinstance(tokens, Int8Tokens) else (tokens, None)
    gain_I, shift_I = affine_of(norm, layer)
    how = (norm is not None, compute_dtype(layer.weight))
    return _FrozenNormLinear.apply(*parts, gain_I, shift_I, layer.weight, layer.bias, *how)


def fold(
    gain_I: Tensor, shift_I: Tensor, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer fused with a norm's affine part."""
    return (weight_OI * gain_I).to(dtype), torch.addmv(bias_O, weight_OI, shift_I).to(dtype)


def unfold(
    raw_OI: Tensor, sum_O: Tensor, gain_I: Tensor, shift_I: Tensor, weight_OI: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gain, shift, weight and bias.

    Args:
        raw_OI: The output's gradient times the normalised input, summed over rows.
        sum_O: The output's gradient, summed over rows.
        gain_I: The norm's gain.
        shift_I: The norm's shift.
        weight_OI: The layer's weight.
    """
    gain_gradient = (raw_OI * weight_OI).sum(0)
    shift_gradient = sum_O @ weight_OI
    return gain_gradient, shift_gradient, torch.addr(raw_OI * gain_I, sum_O, shift_I), sum_O


class _AffineLinear(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, x_MI: Tensor, gain_I: Tensor, shift_I: Tensor, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype
    ) -> Tensor:
        x_MI = x_MI.to(dtype)
        ctx.save_for_backward(x_MI, gain_I, shift_I, weight_OI)
        folded_OI, offset_O = fold(gain_I, shift_I, weight_OI, bias_O, dtype)
        return product(x_MI.flatten(0, -2), folded_OI, offset_O).view(*x_MI.shape[:-1], -1)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_MI, gain_I, shift_I, weight_OI = ctx.saved_tensors
        gradient_MO = gradients[0].flatten(0, -2)
        folded_OI = (weight_OI * gain_I).to(gradient_MO.dtype)
        x_gradient = product(gradient_MO, folded_OI.t()).view_as(x_MI) if ctx.needs_input_grad[0] else None
        raw_OI = weight_gradient(gradient_MO, x_MI.flatten(0, -2)).to(weight_OI.dtype)
        sum_O = gradient_MO.sum(0, dtype=weight_OI.dtype)
        return x_gradient, *unfold(raw_OI, sum_O, gain_I, shift_I, weight_OI), None


class _FrozenNormLinear(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        tokens_MI: Tensor,
        scales_MG: Tensor | None,
        gain_I: Tensor,
        shift_I: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor,
        normalises: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(tokens_MI, scales_MG, gain_I, shift_I, weight_OI)
        ctx.normalises, ctx.dtype = normalises, dtype
        folded_OI, offset_O = fold(gain_I, shift_I, weight_OI, bias_O, dtype)
        normalised_MI = _dequantized(tokens_MI, scales_MG, normalises, dtype)
        return product(normalised_MI, folded_OI, offset_O).view(*tokens_MI.shape[:-1], -1)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tokens_MI, scales_MG, gain_I, shift_I, weight_OI = ctx.saved_tensors
        gradient_MO = gradients[0].flatten(0, -2)
        normalised_MI = _dequantized(tokens_MI, scales_MG, ctx.normalises, ctx.dtype)
        raw_OI = weight_gradient(gradient_MO, normalised_MI).to(weight_OI.dtype)
        sum_O = gradient_MO.sum(0, dtype=weight_OI.dtype)
        return None, None, *unfold(raw_OI, sum_O, gain_I, shift_I, weight_OI), None, None


def _dequantized(tokens_MI: Tensor, scales_MG: Tensor | None, normalises: bool, dtype: torch.dtype) -> Tensor:
    restored_MI = (tokens_MI if scales_MG is None else Int8Tokens(tokens_MI, scales_MG).dequantize()).to(dtype)
    return (layer_normalise_frozen(restored_MI) if normalises else restored_MI).flatten(0, -2)


def affine_of(norm: nn.Module | None, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Gain and shift of a norm; one and zero without a norm."""
    if norm is None:
        ones_I = torch.ones(layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
        return ones_I, torch.zeros_like(ones_I)
    gain_I, shift_I = norm.weight, norm.bias
    if not isinstance(gain_I, Tensor) or not isinstance(shift_I, Tensor):
        raise TypeError("the norm has no gain and shift")
    return gain_I, shift_I
