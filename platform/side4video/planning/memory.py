"""Memory of a training step, from fake tensors: nothing is allocated, and no GPU is needed.

The step itself runs, tower, students' forward and backward, on tensors without numbers, while a ledger follows every
storage and a model of CUDA's allocator places it. *Held for backward* is the same definition that a run measures
(`engine.memory`). *Peak* is what `torch.cuda.max_memory_allocated` is to show over the steps after the first, with its
parts at that moment; *reserved* is what the allocator then holds of the device. Where features are read from disk, the
tower has done its work before the first step, and neither its weights nor its pass are there; making the features
takes its own memory then, the tower and one pass over 8 clips.

The trace runs as on a CPU, for fake tensors on `cuda` have no backward without a device. The networks of this package
choose their precisions themselves, alike on both; cuBLAS's workspace is added.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from side4video.engine.memory import SavedTensorBytes, weights_under
from side4video.engine.student import AUTOCAST
from side4video.models.frozen_features import empty_entries, entry_layouts, from_entries, frozen_features
from side4video.models.layers.eight_bit import EightBitTokens
from side4video.models.networks.contract import FrozenFeatures
from side4video.planning.memory_tracker import MemoryTracker
from side4video.planning.meta_model import MetaModel
from side4video.spec.experiment import Experiment

Module = TypeVar("Module", bound=nn.Module)
ADAM_MOMENTS = 2
WORKSPACE = 32 * 2**20
"""Of cuBLAS on Hopper; 8 MiB on older devices."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one worker."""

    held_for_backward: int
    """Of the distinct storages that autograd keeps between forward and backward, weights excluded."""
    peak: int
    """The most that is handed out at a time, in a step after the first."""
    peak_of_pass: int
    """Of it, while the frozen pass runs."""
    peak_in_pack: int
    """Of it, after the pass, where the tokens that were read stay, for others of a pack read them too."""
    reserved: int
    """What the allocator then holds of the device."""
    parts: dict[str, int]
    """Of the peak, at its moment: tower, weights, gradients, optimizer, held_for_backward, transient."""
    phase: str
    """When the peak is: in `forward or backward`, or in the `optimizer` step."""


def plan_memory(spec: Experiment, meta_model: MetaModel) -> MemoryPlan:
    """Run a step of one student on fake tensors.

    Args:
        spec: The experiment.
        meta_model: Its modules, on the meta device; they hold fake tensors afterwards.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        tower, module = _materialize(meta_model.tower), _materialize(meta_model.module).train()
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        learnt = sum(parameter.numel() * parameter.element_size() for parameter in trained)
        tracker = MemoryTracker()
        tracker.reserve(WORKSPACE, "transient")
        tracker.tag((*module.parameters(), *module.buffers()), "weights")
        if spec.features.kind == "computed":
            tracker.tag((*tower.parameters(), *tower.buffers()), "tower")
        if spec.optimization.average.kind != "none":
            tracker.reserve(sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())), "weights")
        if spec.cluster.max_workers > 1:
            # The reducer's buckets, in which workers' gradients are averaged.
            tracker.reserve(learnt, "gradients")
        tracker.reserve(ADAM_MOMENTS * learnt, "optimizer")
        standing = dict(tracker.alive)
        held, lent = _run(spec, meta_model, tracker)
    # AdamW over all tensors at once makes a list of denominators as large as the gradients.
    update = sum(standing.values()) + 2 * learnt
    of_pass, in_company = tracker.peak_by_stage.get("pass", 0), max(tracker.peak_by_stage["student"], update + lent)
    if update > tracker.most:
        parts = standing | {
            "gradients": standing["gradients"] + learnt,
            "transient": standing["transient"] + learnt,
        }
        reserved = max(update, tracker.reserved)
        return MemoryPlan(held, update, of_pass, in_company, reserved, dict(parts), "optimizer")
    parts = {str(part): size for part, size in tracker.parts_at_peak.items()}
    return MemoryPlan(held, tracker.most, of_pass, in_company, tracker.reserved, parts, "forward or backward")


def _materialize(module: Module) -> Module:
    """Give a module on the meta device tensors, part by part: some may be those of another module, filled before."""
    for part in module.modules():
        own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if any(tensor.is_meta for tensor in own):
            part.to_empty(device="cpu", recurse=False)
    return module


def _run(spec: Experiment, meta_model: MetaModel, tracker: MemoryTracker) -> tuple[int, int]:
    """All parts of an accumulated step; gradients of the first stay for the others.

    Returns:
        Bytes held for backward, and bytes of the tokens that were read.
    """
    precision = spec.optimization.precision
    module = meta_model.module
    size, clips, task = spec.data.size, spec.clips_per_part, meta_model.task
    held = lent = 0
    with tracker, _tag_gradients(module, tracker):
        for _ in range(min(2, spec.optimization.accumulation)):
            video = torch.empty((clips, spec.data.frames, 3, size, size), dtype=torch.uint8)
            targets = task.mock_targets(clips, "cpu")
            tracker.stage = "pass"
            features = _features(spec, meta_model, video)
            tracker.stage = "student"
            lent = tracker.share(_token_tensors(features))
            with _tag_saved_tensors(module, tracker) as kept:
                with torch.autocast("cpu", dtype=AUTOCAST[precision], enabled=precision != "fp32"):
                    outputs = module(features, targets)
                loss = task.loss(outputs, targets)
            del outputs
            features.release()
            if loss.requires_grad:
                loss.backward()
            held = kept.total
            del loss, features, video, targets
            tracker.end_sharing()
    return held, lent


def _features(spec: Experiment, meta_model: MetaModel, video: Tensor) -> FrozenFeatures:
    """A pass over the frames, or tensors of its form that were read."""
    tower, reads = meta_model.tower, meta_model.reads
    if spec.features.kind == "computed":
        return frozen_features(tower, video, reads)
    layouts = entry_layouts(
        tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_eight_bits=tower.keeps_eight_bits
    )
    return from_entries(tower, video, empty_entries(layouts, len(video), video.device), reads=reads)


def _token_tensors(features: FrozenFeatures) -> list[Tensor]:
    """What the last reader lets go of."""
    tokens: list[Tensor] = []
    for kept in features.tokens.values():
        tokens += [kept.codes_NPD, kept.scales_NPG] if isinstance(kept, EightBitTokens) else [kept]
    return [*tokens, *(part for pair in features.attention.values() for part in pair)]


@contextmanager
def _tag_saved_tensors(module: nn.Module, tracker: MemoryTracker) -> Iterator[SavedTensorBytes]:
    held = SavedTensorBytes(excluded={tensor.untyped_storage()._cdata for tensor in weights_under(module)})

    def keep(tensor: Tensor) -> Tensor:
        tracker.tag([tensor], "held_for_backward")
        return held.add(tensor)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield held


@contextmanager
def _tag_gradients(module: nn.Module, tracker: MemoryTracker) -> Iterator[None]:
    """Count each weight's gradient as such from when it is there, and drop them all at the end."""

    def note(parameter: Tensor) -> None:
        if parameter.grad is not None:
            tracker.tag([parameter.grad], "gradients")

    handles = [
        parameter.register_post_accumulate_grad_hook(note)
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in module.parameters():
            parameter.grad = None
