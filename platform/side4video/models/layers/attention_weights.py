"""The weights of an attention layer, which fused kernels do not return.

Every attention of the towers and the side network calls `scaled_dot_product_attention`. `attention_of` runs a layer and
records the arguments of that call. So queries and keys are the layer's own, with norm, projections, biases and rotary
positions.

Legend: N frames, h heads, Q queries, S keys, k channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from side4video.core.errors import Side4VideoError

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Allowed relative error between the layer's output and the weights times the values, by precision."""
_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


@dataclass(frozen=True)
class Attention:
    """Arguments and result of one call of `scaled_dot_product_attention`."""

    query_NhQk: Tensor
    key_NhSk: Tensor
    value_NhSk: Tensor
    output_NhQk: Tensor

    def weights(self) -> Tensor:
        """`softmax(Q K^T / sqrt(k))`, [N, h, Q, S], in fp32 (or fp64); rows sum to one."""
        query, key = (_as_fp32(each) for each in (self.query_NhQk, self.key_NhSk))
        return torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, dim=-1)

    def error(self, weights_NhQS: Tensor) -> float:
        """Maximum difference between `weights V` and the layer's output, relative to the output's maximum."""
        mixed = weights_NhQS @ _as_fp32(self.value_NhSk)
        output = _as_fp32(self.output_NhQk)
        return float((mixed - output).abs().max() / output.abs().max().clamp_min(torch.finfo(output.dtype).tiny))


def attention_of(layer: Callable[..., Any], *arguments: Any) -> Tensor:
    """The weights [N, h, Q, S] of the attention that `layer(*arguments)` computes.

    The weights times the layer's values must reproduce its output up to rounding.

    Raises:
        ValueError: The layer computes no attention, several, or a masked one.
        Side4VideoError: The weights do not reproduce the layer's output.
    """
    with AttentionRecorder() as recorder:
        layer(*arguments)
    if len(recorder.calls) != 1:
        raise ValueError(f"{len(recorder.calls)} attentions where one was expected")
    attention = recorder.calls[0]
    weights_NhQS = attention.weights()
    allowed = ROUNDING[attention.output_NhQk.dtype]
    if not (error := attention.error(weights_NhQS)) <= allowed:
        raise Side4VideoError(
            f"the attention weights give another output than the layer's: {error:.2g} apart, {allowed:.2g} allowed"
        )
    return weights_NhQS


class AttentionRecorder(TorchFunctionMode):
    """Records every call of `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Attention] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            named = dict(zip(_ARGUMENTS, args, strict=False)) | (kwargs or {})
            odd = [name for name in _ARGUMENTS[3:] if isinstance(named.get(name), Tensor) or named.get(name)]
            if odd:
                raise ValueError(f"an attention with {', '.join(odd)}, whose weights are others")
            self.calls.append(Attention(named["query"], named["key"], named["value"], result))
        return result


def _as_fp32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
