"""A pack's memory counted outright: every student's part of a step, one after another, on fake tensors.

The planner composes a pack's peak from what its students take alone; this runs the whole pack under one ledger, in the
order of `engine.step.train_step`, and says what was there at most.
"""

import functools
import operator
from collections.abc import Sequence

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from side4video.engine.student import AUTOCAST, StudentModule
from side4video.models.frozen_features import empty_entries, entry_layouts, from_entries, frozen_features
from side4video.planning.memory import ADAM_MOMENTS, _materialize
from side4video.planning.memory_tracker import MemoryTracker
from side4video.planning.meta_model import build_meta_model
from side4video.spec.experiment import Experiment

CLASSES = 10


def trace_pack(specs: Sequence[Experiment], *, keeps_graphs: bool = False) -> int:
    """The most bytes that are handed out while a pack takes a step, cuBLAS's workspace apart.

    Args:
        specs: The students' documents; they agree on backbone, data and batch.
        keeps_graphs: A fault: all students run forward before the first runs backward.
    """
    first = specs[0]
    skeletons = [build_meta_model(spec, classes=CLASSES) for spec in specs]
    tower = skeletons[0].tower
    reads = functools.reduce(operator.or_, (meta_model.reads for meta_model in skeletons))
    with FakeTensorMode(allow_non_fake_inputs=True):
        modules = [_materialize(meta_model.module).train() for meta_model in skeletons]
        _materialize(tower)
        ledger = MemoryTracker()
        if first.features.kind == "computed":
            ledger.tag((*tower.parameters(), *tower.buffers()), "tower")
        for spec, module in zip(specs, modules, strict=True):
            _stand(spec, module, ledger)
        size = first.data.size
        with ledger:
            parts = min(2, first.optimization.accumulation)
            for part in range(parts):
                video = torch.empty((first.clips_per_part, first.data.frames, 3, size, size), dtype=torch.uint8)
                labels = torch.empty(first.clips_per_part, dtype=torch.int64)
                features = _features(first, tower, video, reads)
                is_last_part = part == parts - 1
                if keeps_graphs:
                    losses = [_loss(*each, features, labels) for each in zip(specs, modules, strict=True)]
                    torch.stack(losses).sum().backward()
                    del losses
                for spec, module in zip(specs, modules, strict=True):
                    if not keeps_graphs:
                        _loss(spec, module, features, labels, releases=module is modules[-1]).backward()
                    if is_last_part:
                        _update(module)
                del features, video, labels
    return ledger.peak


def _stand(spec: Experiment, module: StudentModule, ledger: MemoryTracker) -> None:
    """What of a student is there from one step to the next."""
    ledger.tag((*module.parameters(), *module.buffers()), "weights")
    if spec.optimization.average.kind != "none":
        ledger.reserve(sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())), "weights")
    if spec.cluster.workers > 1:
        ledger.reserve(_learnt(module), "gradients")
    ledger.reserve(ADAM_MOMENTS * _learnt(module), "optimizer")


def _features(spec, tower, video, reads):
    if spec.features.kind == "computed":
        return frozen_features(tower, video, reads)
    layouts = entry_layouts(tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    return from_entries(tower, video, empty_entries(layouts, len(video), video.device), reads=reads)


def _loss(spec, module, features, labels, *, releases=False):
    precision = spec.optimization.precision
    with torch.autocast("cpu", dtype=AUTOCAST[precision], enabled=precision != "fp32"):
        outputs = module(features)
    if releases:
        features.release()
    return F.cross_entropy(outputs.float(), labels, label_smoothing=spec.task.label_smoothing, reduction="sum")


def _update(module: StudentModule) -> None:
    """AdamW over all tensors at once makes a list of denominators; then the gradients go."""
    denominators = torch.empty(_learnt(module), dtype=torch.uint8)
    del denominators
    for parameter in module.parameters():
        parameter.grad = None


def _learnt(module: StudentModule) -> int:
    return sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
