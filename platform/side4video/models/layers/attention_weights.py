"""What an attention looked at: its weights, which the fused kernels never write down.

Every attention of the towers and of the side network ends in `scaled_dot_product_attention`. While `attention_of` runs
one of them, it takes note of what that function was given, so queries and keys are the layer's own: with its norm, its
projections, its biases and its rotary positions, whatever tower it is. The layer itself runs as it always does.

Legend: N frames, h heads, Q tokens that look, S tokens that are looked at, k channels of a head.
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
"""By the layer's precision, how far its output may be from what the weights give, relative to its largest number."""
_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


@dataclass(frozen=True)
class Attention:
    """One call of the attention, and what came out of it."""

    query_NhQk: Tensor
    key_NhSk: Tensor
    value_NhSk: Tensor
    output_NhQk: Tensor

    def weights(self) -> Tensor:
        """`softmax(Q K^T / sqrt(k))`, [N, h, Q, S], in fp32 (fp64 where the layer computes so); rows sum to one."""
        query, key = (_at_least_fp32(each) for each in (self.query_NhQk, self.key_NhSk))
        return torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, dim=-1)

    def error(self, weights_NhQS: Tensor) -> float:
        """How far `weights V` is from the layer's output at most, relative to the output's largest number."""
        mixed = weights_NhQS @ _at_least_fp32(self.value_NhSk)
        output = _at_least_fp32(self.output_NhQk)
        return float((mixed - output).abs().max() / output.abs().max().clamp_min(torch.finfo(output.dtype).tiny))


def attention_of(layer: Callable[..., Any], *arguments: Any) -> Tensor:
    """The weights [N, h, Q, S] of the one attention that `layer(*arguments)` computes.

    They are checked before they are given: applied to the layer's values they give the layer's own output, within the
    rounding of its precision.

    Raises:
        ValueError: If the layer computes none, or several, or a masked one.
        Side4VideoError: If the weights do not give the layer's output.
    """
    with _Noting() as noting:
        layer(*arguments)
    if len(noting.calls) != 1:
        raise ValueError(f"{len(noting.calls)} attentions where one was expected")
    attention = noting.calls[0]
    weights_NhQS = attention.weights()
    allowed = ROUNDING[attention.output_NhQk.dtype]
    if not (error := attention.error(weights_NhQS)) <= allowed:
        raise Side4VideoError(
            f"the attention weights give another output than the layer's: {error:.2g} apart, {allowed:.2g} allowed"
        )
    return weights_NhQS


class _Noting(TorchFunctionMode):
    """Runs everything as it is, and takes note of each attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Attention] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            given = dict(zip(_ARGUMENTS, args, strict=False)) | (kwargs or {})
            odd = [name for name in _ARGUMENTS[3:] if isinstance(given.get(name), Tensor) or given.get(name)]
            if odd:
                raise ValueError(f"an attention with {', '.join(odd)}, whose weights are others")
            self.calls.append(Attention(given["query"], given["key"], given["value"], result))
        return result


def _at_least_fp32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
