"""The one definition of each memory figure that is measured.

*Held for backward*: bytes of the distinct storages that autograd keeps between a forward and its backward,
parameters and the tower's own weights excluded. It needs no GPU.
*Peak*: what the CUDA allocator had handed out at most, over the steps after the first.
"""

import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class HeldBytes:
    """Storages seen by autograd's saved-tensor hooks."""

    excluded: set[int] = field(default_factory=set)
    storages: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes held."""
        return sum(self.storages.values())

    def see(self, tensor: Tensor) -> Tensor:
        """Count the storage under a tensor, once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.excluded:
            self.storages[key] = storage.nbytes()
        return tensor


@contextmanager
def measure_held(parameters: Iterable[Tensor]) -> Iterator[HeldBytes]:
    """Count what is saved for backward inside the block; storages under `parameters` do not count."""
    held = HeldBytes(excluded={parameter.untyped_storage()._cdata for parameter in parameters})
    with torch.autograd.graph.saved_tensors_hooks(held.see, lambda tensor: tensor):
        yield held


def weights_under(module: nn.Module) -> Iterator[Tensor]:
    """A module's parameters, and those of a tower that a part of it has borrowed (`networks.contract.Borrowed`)."""
    yield from module.parameters()
    for part in module.modules():
        borrowed = getattr(part, "borrowed", None)
        if borrowed is not None:
            yield from borrowed.tower.parameters()


def reset_peak(device: torch.device) -> None:
    """Start a new peak on a CUDA device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def read_peak(device: torch.device) -> dict[str, float]:
    """Bytes: `peak` and `reserved` of a CUDA device, and this process's largest resident set."""
    figures = {
        "process": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    }
    if device.type == "cuda":
        figures["peak"] = float(torch.cuda.max_memory_allocated(device))
        figures["reserved"] = float(torch.cuda.max_memory_reserved(device))
    return figures
