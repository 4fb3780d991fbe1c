"""Estimates of time and disk space. They depend on assumed rates, which the result names."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from side4video.engine.pack import MockBatch, blank_neighbours
from side4video.models.frozen_features import features_of_batch
from side4video.planning.memory import ADAM_MOMENTS
from side4video.planning.meta_model import MetaModel
from side4video.spec.experiment import Experiment

FORWARD_AND_BACKWARD = 3
"""Multiply-adds of a training step relative to its forward pass: one forward pass, and a backward pass of twice the
work."""
RECOMPUTED = {"none": 0.0, "selective": 0.35, "block": 0.75}
"""Share of a side network's forward pass that is recomputed, by `recompute`."""
BYTES = 4


def estimate(
    spec: Experiment, frozen: int, student: int, trainable: int, *, sustained_teraflops: float, read_seconds: float = 0
) -> dict[str, float]:
    """Estimate step time, throughput, recomputation, checkpoint size and disk space, by name.

    `frozen` and `student` are the multiply-adds of the frozen pass (0 where features are read) and of the student's
    forward, for one clip; `read_seconds` is the time in which the disk gives one clip's features.
    """
    share = RECOMPUTED.get(getattr(spec.method, "recompute", "none"), 0.0)
    clips = spec.clips_per_part * spec.optimization.accumulation
    learnt = student * (FORWARD_AND_BACKWARD + share)
    computing = clips * 2 * (frozen + learnt) / (sustained_teraflops * 1e12)
    seconds = max(computing, clips * spec.cluster.min_workers * read_seconds)
    # For a method that changes the tower, `student` includes the work of the tower.
    averages = 1 if spec.optimization.average.kind != "none" else 0
    checkpoint = trainable * BYTES * (1 + ADAM_MOMENTS + averages)
    best = trainable * BYTES
    return {
        "step_seconds": seconds,
        "clips_per_second": clips * spec.cluster.min_workers / seconds,
        "recompute_share": clips * 2 * student * share / (sustained_teraflops * 1e12) / seconds,
        "checkpoint_gib": (checkpoint + best) / 2**30,
        "disk_gib": ((checkpoint + best) * spec.cluster.keep_checkpoints + best) / 2**30,
        "assumed_sustained_teraflops": sustained_teraflops,
    }


def count_parameters(module: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_multiply_adds(spec: Experiment, meta_model: MetaModel) -> tuple[int, int]:
    """Multiply-adds of the frozen pass and of the student, forward, for one view of one clip. Runs on meta tensors."""
    size = spec.data.size
    with torch.no_grad():
        video = torch.empty(1, spec.data.frames, 3, size, size, dtype=torch.uint8, device="meta")
        with FlopCounterMode(display=False) as frozen:
            reads = meta_model.reads
            features = features_of_batch(
                meta_model.tower, MockBatch(video, None, blank_neighbours(video, reads.neighbours)), reads
            )
        with FlopCounterMode(display=False) as student:
            meta_model.module.eval()(features, meta_model.task.mock_targets(1, "meta"))
    return frozen.get_total_flops() // 2, student.get_total_flops() // 2
