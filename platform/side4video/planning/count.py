"""Exact counts: trained parameters, and the multiply-adds of one view.

The convention is the paper's: its "GFLOPs" are multiply-adds (Table 2 sums them over 3 temporal clips).
Elementwise work and norms are not counted, as is usual.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from side4video.models.frozen_pass import frozen_features
from side4video.planning.shapes import Skeleton
from side4video.spec.experiment import Experiment


def count_parameters(module: torch.nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_multiply_adds(spec: Experiment, skeleton: Skeleton) -> tuple[int, int]:
    """Multiply-adds of one view of one clip on meta tensors, forward: of the frozen pass, and of the student."""
    size = spec.data.size
    with torch.no_grad():
        video = torch.empty(1, spec.data.frames, 3, size, size, dtype=torch.uint8, device="meta")
        with FlopCounterMode(display=False) as frozen:
            features = frozen_features(skeleton.tower, video, skeleton.reads)
        with FlopCounterMode(display=False) as student:
            skeleton.module.eval()(features, skeleton.task.mock_targets(1, "meta"))
    return frozen.get_total_flops() // 2, student.get_total_flops() // 2
