"""Defines and measures the memory metrics.

*Held for backward*: bytes of the distinct storages that autograd keeps between a forward and its backward,
parameters and the tower's own weights excluded. It needs no GPU.
*Peak*: the maximum that the CUDA allocator handed out, over the steps after the first, by all students together. A CPU
has no such allocator. There it is the maximum of all tensors that exist at a time in a student's dry run (tower,
weights, their average, frames, gradients, activations), plus its optimizer state. Memory inside an operation does not
count.
"""

import resource
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class SavedTensorBytes:
    """Bytes of the storages that autograd saves for backward."""

    excluded: set[int] = field(default_factory=set)
    storages: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes of all storages."""
        return sum(self.storages.values())

    def add(self, tensor: Tensor) -> Tensor:
        """Count the storage under a tensor, once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.excluded:
            self.storages[key] = storage.nbytes()
        return tensor


@contextmanager
def measure_held(parameters: Iterable[Tensor]) -> Iterator[SavedTensorBytes]:
    """Measure what is saved for backward inside the block, without the storages of `parameters`."""
    held = SavedTensorBytes(excluded={parameter.untyped_storage()._cdata for parameter in parameters})
    with torch.autograd.graph.saved_tensors_hooks(held.add, lambda tensor: tensor):
        yield held


def weights_under(module: nn.Module) -> Iterator[Tensor]:
    """A module's parameters, and those of a tower that it borrows (`networks.contract.SharedTower`)."""
    yield from module.parameters()
    for part in module.modules():
        borrowed = getattr(part, "borrowed", None)
        if borrowed is not None:
            yield from borrowed.tower.parameters()


class ResultsMode(TorchDispatchMode):
    """Calls `created` with each tensor that an operation inside the block gives."""

    def created(self, tensor: Tensor) -> None:
        """Take note of a tensor."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and take note of its results."""
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.created(leaf)
        return result


class PeakBytes(ResultsMode):
    """Measures the maximum bytes of the tensors that exist at a time inside the block."""

    def __init__(self, resident: Iterable[Tensor]) -> None:
        """`resident` are tensors that exist before the block."""
        super().__init__()
        self._storages: dict[int, int] = {}
        self._current = self.peak = 0
        for tensor in resident:
            self.created(tensor, is_resident=True)

    def created(self, tensor: Tensor, *, is_resident: bool = False) -> None:
        """Count a tensor until it is freed; one that is resident stays."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        self._storages[key] = storage.nbytes()
        self._current += storage.nbytes()
        self.peak = max(self.peak, self._current)
        if not is_resident:
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._current -= self._storages.pop(key)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of an optimizer's state."""
    tensors = (each for state in optimizer.state.values() for each in state.values() if isinstance(each, Tensor))
    return sum(tensor.nbytes for tensor in tensors)


def reset_peak(device: torch.device) -> None:
    """Reset the peak of a CUDA device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def read_peak(device: torch.device) -> dict[str, float]:
    """Bytes: `peak` and `reserved` of a CUDA device, and this process's largest resident set (all its students')."""
    figures = {
        "process": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    }
    if device.type == "cuda":
        figures["peak"] = float(torch.cuda.max_memory_allocated(device))
        figures["reserved"] = float(torch.cuda.max_memory_reserved(device))
    return figures
