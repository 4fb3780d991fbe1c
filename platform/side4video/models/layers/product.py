"""Matrix products with the fastest available kernel.

On a CPU, torch computes fp32 products with MKL, which has half the speed of oneDNN on AMD processors (measured on an
EPYC with two cores: 190 and 410 GFLOP/s). Here fp32 products on a CPU use oneDNN, which is part of torch. All other
products are torch's own.

Legend: M rows (any leading dimensions), I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ONE_DNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(x_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """`F.linear`, autocast and gradients included."""
    if prefer_mkldnn(x_MI, weight_OI) and not torch.is_autocast_enabled("cpu"):
        return _Linear.apply(x_MI, weight_OI, bias_O)
    return F.linear(x_MI, weight_OI, bias_O)


def product(left_MI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """`left @ right.T + bias` of two matrices of one precision, without gradients and autocast."""
    if prefer_mkldnn(left_MI, right_OI):
        return _ONE_DNN(left_MI, right_OI, bias_O, "none", [], "")
    if bias_O is None:
        return left_MI @ right_OI.t()
    return torch.addmm(bias_O, left_MI, right_OI.t())


def weight_gradient(gradient_MO: Tensor, x_MI: Tensor) -> Tensor:
    """`gradient.T @ x` of two matrices, [O, I]: a linear layer's weight gradient."""
    if prefer_mkldnn(gradient_MO, x_MI) and gradient_MO.shape[1] > x_MI.shape[1]:
        # oneDNN copies a transposed first operand, so the first is the narrower one.
        return _ONE_DNN(x_MI.t(), gradient_MO.t(), None, "none", [], "").t()
    return product(gradient_MO.t(), x_MI.t())


def prefer_mkldnn(left: Tensor, right: Tensor) -> bool:
    """Whether both tensors are fp32 on a CPU, so that oneDNN can multiply them."""
    # Subclasses (fake tensors) use torch's own product, which counters of operations recognise.
    return (
        _ONE_DNN is not None
        and left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and type(left) in (Tensor, torch.nn.Parameter)
        and left.numel() > 0
        and right.numel() > 0
    )


class _Linear(torch.autograd.Function):
    """Saves what `F.linear` saves: the input if the weight needs a gradient, the weight if the input does."""

    @staticmethod
    def forward(ctx: Any, x_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        input_needs_gradient, weight_needs_gradient = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x_MI if weight_needs_gradient else None, weight_OI if input_needs_gradient else None)
        return product(_rows(x_MI), weight_OI, bias_O).view(*x_MI.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_MI, weight_OI = ctx.saved_tensors
        gradient = _rows(gradients[0])
        x_gradient = grad_weight = bias_gradient = None
        if weight_OI is not None:
            x_gradient = product(gradient, weight_OI.t()).view(*gradients[0].shape[:-1], -1)
        if x_MI is not None:
            grad_weight = weight_gradient(gradient, _rows(x_MI))
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum(0)
        return x_gradient, grad_weight, bias_gradient


def _rows(x_MI: Tensor) -> Tensor:
    """As a matrix [M, I]."""
    return x_MI.reshape(-1, x_MI.shape[-1])
