"""The precision of a layer's computation.

The layers of this package apply autocast's precision themselves, the same way on every device. Autocast's own lists of
operations differ between CPU and CUDA (a layer norm returns fp32 on only one of them), and so would the memory.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Autocast's data type if it is on for the weight's device, and the weight's otherwise."""
    kind = weight.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else weight.dtype


def autocast_off(kind: str) -> AbstractContextManager[object]:
    """A context in which autocast is off for a type of device."""
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def without_autocast(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that runs `forward` or `backward` of an autograd function without autocast."""

    @functools.wraps(method)
    def run(ctx: Any, first: Tensor, *rest: Any) -> Any:
        kind = first.device.type
        if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
            return method(ctx, first, *rest)
        with torch.autocast(kind, enabled=False):
            return method(ctx, first, *rest)

    return run
