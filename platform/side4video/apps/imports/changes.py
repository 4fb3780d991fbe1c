"""Computes our tensors from those of the authors.

Legend: D channels, O outputs, I inputs, K frames of a kernel, p side of a patch, a frames of a stride.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from side4video.apps.imports.pairs import Change

_THIRDS: tuple[Change, ...] = ("first-third", "middle-third", "last-third")
"""Of queries, keys and values in one tensor."""
_TAPS: tuple[Change, ...] = ("tap-before", "tap-own", "tap-after")
"""Of a kernel over three frames."""


def to_ours(change: Change, theirs: Sequence[Tensor]) -> Tensor:
    """Our tensor, contiguous; floats in fp32.

    Raises:
        ValueError: Their shapes are not those of the change.
    """
    try:
        changed = _change(change, [each.float() if each.is_floating_point() else each for each in theirs])
    except (RuntimeError, ValueError) as error:  # torch, einops
        raise ValueError(f"shapes {[list(each.shape) for each in theirs]} do not fit") from error
    return changed.contiguous().clone()


def _change(change: Change, theirs: Sequence[Tensor]) -> Tensor:
    if change == "joined":  # queries, keys and values
        return torch.cat(list(theirs))
    (one,) = theirs
    patterns = {
        "pointwise": "o i 1 1 1 -> o i",
        "depthwise": "d 1 k 1 1 -> k d",
        "depthwise-1d": "d 1 k -> k d",
        "over-time": "o i k 1 1 -> k o i",
        "stem": "o c k p q -> k o (c p q)",
        "over-space": "o i 1 h w -> o i h w",
        "strided": "o i a 1 1 -> o (a i)",
        "transposed": "o i -> i o",
        "drop-1": "1 t d -> t d",
    }
    if change in _THIRDS:
        return _part(one, _THIRDS, change, axis=0)
    if change in _TAPS:
        return _part(one, _TAPS, change, axis=2)
    if change == "drop-2":
        return rearrange(one, "1 1 ... -> ...")
    return rearrange(one, patterns[change]) if change in patterns else one


def _part(one: Tensor, parts: Sequence[Change], change: Change, *, axis: int) -> Tensor:
    """A part of equal parts along an axis: a third of the rows, or a frame of a kernel, without its axis."""
    if one.ndim <= axis or one.shape[axis] % len(parts) or (axis and one.shape[axis] != len(parts)):
        raise ValueError(f"axis {axis} of {list(one.shape)} has not {len(parts)} parts")
    part = one.chunk(len(parts), dim=axis)[parts.index(change)]
    return part.squeeze(axis) if axis else part
