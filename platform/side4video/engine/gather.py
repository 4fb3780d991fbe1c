"""Rows of every worker on every worker, with the gradients that belong to them."""

from typing import Any

import torch
from torch import Tensor, distributed

from side4video.engine.processes import Process


def gather_rows(rows: Tensor, process: Process) -> Tensor:
    """All workers' rows [sum of N, ...] in order of rank; each may have another number N of them.

    Every worker is expected to compute the same loss of the same gathered rows, to weigh it by its own number of rows
    (a loss summed over its clips), and to average gradients over workers, as the engine does. Then the gradient of
    the rows, and of what is applied to them afterwards, is that of one worker with all of them.

    Args:
        rows: This worker's rows [N, ...]; more than none.
        process: This worker.
    """
    return rows if process.world == 1 else _Gathered.apply(rows.contiguous(), process.rank, process.world)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world: int) -> Tensor:
        own = torch.tensor([len(rows)], device=rows.device)
        counts = [torch.empty_like(own) for _ in range(world)]
        distributed.all_gather(counts, own)
        sizes = [int(count) for count in counts]
        most = max(sizes)
        padded = rows.new_zeros((most, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(world)]
        distributed.all_gather(parts, padded)
        ctx.first, ctx.count, ctx.total = sum(sizes[:rank]), len(rows), sum(sizes)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # Each worker has the whole gradient of its own rows, weighed by its share of them: the others' are the same.
        own = gradients[0][ctx.first : ctx.first + ctx.count]
        return own * (ctx.total / ctx.count), None, None
