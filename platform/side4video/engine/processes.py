"""The process group, if there is one: every collective the engine uses, and the same words without a group."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import distributed

from side4video.core.errors import Side4VideoError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Process:
    """Which worker this is, and what it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this worker writes files and reports."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value]:
        """Every worker's value, by rank, on every worker."""
        if self.world == 1:
            return [value]
        gathered: list[Value | None] = [None] * self.world
        distributed.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    def broadcast_tensors(self, tensors: list[torch.Tensor]) -> None:
        """Overwrite the tensors with the first worker's."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def together(self, work: Callable[[], None]) -> None:
        """Run something on every worker; what one of them cannot do fails on all, so that nobody waits for ever.

        Raises:
            Side4VideoError: Of the first worker, by rank, that failed.
        """
        mistake = None
        try:
            work()
        except Side4VideoError as error:
            mistake = error
        for each in self.gather(mistake):
            if each is not None:
                raise each

    def begin_largest(self, number: int) -> Callable[[], int]:
        """Begin to find the largest of all workers' numbers; the function returned waits for it."""
        if self.world == 1:
            return lambda: number
        tensor = torch.full((1,), number, dtype=torch.int32, device=self.device)
        handle = distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX, async_op=True)

        def wait() -> int:
            if handle is not None:
                handle.wait()
            return int(tensor)

        return wait

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.world > 1:
            distributed.barrier()


def current_process(device: torch.device | str = "cpu") -> Process:
    """The worker that the initialised process group says this is, or the only one."""
    if distributed.is_available() and distributed.is_initialized():
        return Process(distributed.get_rank(), distributed.get_world_size(), torch.device(device))
    return Process(device=torch.device(device))
