"""In which precision a layer computes.

The layers of this package choose their precision themselves, as autocast would and on every device alike: autocast's
own lists differ between CPU and CUDA (a layer norm gives fp32 on one and not on the other), and memory with them.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def compute_dtype(weight: Tensor) -> torch.dtype:
    """What autocast says where it is on for the weight's device, else the weight's own precision."""
    kind = weight.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else weight.dtype


def autocast_off(kind: str) -> AbstractContextManager[object]:
    """A block in which autocast is off on a kind of device, where it has any."""
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def without_autocast(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run `forward` or `backward` of an autograd function, `(ctx, tensor, ...)`, in the precisions it was given."""

    @functools.wraps(method)
    def run(ctx: Any, first: Tensor, *rest: Any) -> Any:
        kind = first.device.type
        if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
            return method(ctx, first, *rest)
        with torch.autocast(kind, enabled=False):
            return method(ctx, first, *rest)

    return run
