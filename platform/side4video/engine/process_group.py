"""The collectives that the engine uses; with one worker and no process group they do nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from side4video.core.errors import InputError, Side4VideoError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This worker: its rank, the number of workers, its device."""

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

    def run_on_all_workers(self, work: Callable[[], None]) -> None:
        """Run `work` on every worker; an error of one is raised on all, so that none waits for ever.

        Raises:
            Side4VideoError: The error of the lowest rank that failed.
        """
        failure = None
        try:
            work()
        except Side4VideoError as error:
            failure = error
        for each in self.gather(failure):
            if each is not None:
                raise each

    def all_reduce_max_async(self, number: int) -> Callable[[], int]:
        """Start an all-reduce of the maximum; the function that is returned waits for the result."""
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


def gather_rows(rows: Tensor, process: ProcessGroup) -> Tensor:
    """All workers' rows [sum of N, ...] in order of rank; N may differ between workers.

    The gradient is that of one worker with all rows, if every worker computes the same loss of the gathered rows,
    weights it by its own number of rows (a loss summed over its clips), and gradients are averaged over workers. The
    engine does all three. `rows` are this worker's [N, ...], N > 0.
    """
    return rows if process.world == 1 else _GatherRows.apply(rows.contiguous(), process.rank, process.world)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world: int) -> Tensor:
        own = torch.tensor([len(rows)], device=rows.device)
        counts = [torch.empty_like(own) for _ in range(world)]
        distributed.all_gather(counts, own)
        sizes = [int(count) for count in counts]
        # all_gather needs tensors of one shape, so each is padded to the longest.
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(world)]
        distributed.all_gather(parts, padded)
        ctx.first, ctx.count, ctx.total = sum(sizes[:rank]), len(rows), sum(sizes)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # All workers compute the same loss, weighted by their own number of rows. Undo the average over workers.
        own = gradients[0][ctx.first : ctx.first + ctx.count]
        return own * (ctx.total / ctx.count), None, None


def default_device() -> str:
    """The first GPU, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(name: object, *, where: str = "device") -> torch.device:
    """The device of a name, such as `cpu`, `cuda` or `cuda:1`; `where` is the option or the argument, for the error.

    Raises:
        InputError: This machine has no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))]
    if str(name) in names:
        return torch.device(str(name))
    found = f"{name}: there is no GPU here" if str(name).startswith("cuda") and not gpus else f"{name!r}"
    if str(name).startswith("cuda") and gpus:
        found = f"{name}: this machine has {gpus} GPU{'s' * (gpus > 1)}"
    raise InputError(where, found, allowed=", ".join(names), fix=f"leave it out, or write {names[-1]}")
