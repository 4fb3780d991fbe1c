"""Time and disk, estimated: they rest on assumptions, and say which."""

from side4video.planning.memory import ADAM_MOMENTS
from side4video.spec.experiment import Experiment

SUSTAINED_TERAFLOPS = 120.0
"""What a vision transformer of these sizes keeps up on an A100 in bf16: about 40% of its 312."""
FORWARD_AND_BACKWARD = 3
"""Multiply-adds of a training step over those of its forward: once forward, twice backward."""
RECOMPUTED = {"none": 0.0, "selective": 0.35, "block": 0.75}
"""Share of a side network's forward that is computed again, by `recompute`."""
DISK_GIGABYTES_PER_SECOND = 1.0
"""What a file system gives all workers together, reading: a good network disk, or half a solid-state disk."""
BYTES = 4


def estimate(
    spec: Experiment, frozen: int, student: int, trainable: int, *, sustained_teraflops: float, read_seconds: float = 0
) -> dict[str, float]:
    """`step_seconds`, `clips_per_second`, `recompute_share`, `checkpoint_gib`, `disk_gib` and what they assume.

    Args:
        spec: The experiment.
        frozen: Multiply-adds of the frozen pass in a step, one clip: none where features are read.
        student: Multiply-adds of the student's forward, one clip.
        trainable: Trained numbers.
        sustained_teraflops: Of one worker's device.
        read_seconds: How long the disk takes to give one clip's features; it does so while the device computes.
    """
    share = RECOMPUTED.get(getattr(spec.method, "recompute", "none"), 0.0)
    clips = spec.clips_of_a_part * spec.optimization.accumulation
    learnt = student * (FORWARD_AND_BACKWARD + share)
    computing = clips * 2 * (frozen + learnt) / (sustained_teraflops * 1e12)
    seconds = max(computing, clips * spec.cluster.fewest_workers * read_seconds)
    # A method that changes the tower has the tower's work in its own.
    averages = 1 if spec.optimization.average.kind != "none" else 0
    checkpoint = trainable * BYTES * (1 + ADAM_MOMENTS + averages)
    best = trainable * BYTES
    return {
        "step_seconds": seconds,
        "clips_per_second": clips * spec.cluster.fewest_workers / seconds,
        "recompute_share": clips * 2 * student * share / (sustained_teraflops * 1e12) / seconds,
        "checkpoint_gib": (checkpoint + best) / 2**30,
        "disk_gib": ((checkpoint + best) * spec.cluster.keep_checkpoints + best) / 2**30,
        "assumed_sustained_teraflops": sustained_teraflops,
    }
