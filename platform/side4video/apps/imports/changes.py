"""Computes our tensors from those of the authors.

Legend: D channels, O outputs, I inputs, K frames of a kernel, p side of a patch, a frames of a stride.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from side4video.apps.imports.pairs import Change


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
    if change == "drop-2":
        return rearrange(one, "1 1 ... -> ...")
    return rearrange(one, patterns[change]) if change in patterns else one
