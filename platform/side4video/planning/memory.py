"""Predicts the memory of a training step with fake tensors: nothing is allocated, and no GPU is needed.

The real step runs (tower, and the student's forward and backward pass) on tensors without values. A tracker follows
every storage, and a model of CUDA's allocator places it. *Held for backward* has the same definition as in a run
(`engine.memory`). *Peak* predicts `torch.cuda.max_memory_allocated` over the steps after the first, with its parts at
that moment. *Reserved* is the memory that the allocator then holds. With cached features, neither the tower's weights
nor its pass are counted; building the cache takes its own memory before training: the tower, and one pass over 8 clips.

The trace runs as on a CPU, because fake tensors on `cuda` have no backward pass without a device. The networks of this
package set their precisions themselves, equally on both. cuBLAS's workspace is added.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from side4video.engine.memory import SavedTensorBytes, weights_under
from side4video.engine.pack import MockBatch, blank_neighbours
from side4video.engine.student import AUTOCAST
from side4video.models.frozen_features import empty_entries, entry_layouts, features_of_batch, from_entries
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.networks.contract import FrozenFeatures
from side4video.planning.memory_tracker import MemoryTracker
from side4video.planning.meta_model import MetaModel
from side4video.spec.experiment import Experiment

Module = TypeVar("Module", bound=nn.Module)
ADAM_MOMENTS = 2
WORKSPACE = 32 * 2**20
"""cuBLAS's workspace on Hopper; 8 MiB on older devices."""


@dataclass(frozen=True)
class MemoryPlan:
    """Predicted bytes on one worker."""

    held_for_backward: int
    """Distinct storages that autograd keeps between forward and backward, without weights."""
    peak: int
    """Peak of allocated memory in a step after the first."""
    peak_of_pass: int
    """Peak during the frozen pass."""
    peak_in_pack: int
    """Peak after the pass if the tokens stay allocated, because other students of a pack read them too."""
    reserved: int
    """Memory that the allocator then holds."""
    parts: dict[str, int]
    """Parts of the peak: tower, weights, gradients, optimizer, held_for_backward, transient."""
    phase: str
    """When the peak occurs: in `forward or backward`, or in the `optimizer` step."""


def plan_memory(spec: Experiment, meta_model: MetaModel) -> MemoryPlan:
    """Run a step of one student on fake tensors.

    The modules are on the meta device, and hold fake tensors afterwards.
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
            # DistributedDataParallel's buckets, in which gradients are averaged.
            tracker.reserve(learnt, "gradients")
        tracker.reserve(ADAM_MOMENTS * learnt, "optimizer")
        constant = dict(tracker.alive)
        held, token_bytes = _run(spec, meta_model, tracker)
    # AdamW (foreach) builds a list of denominators that is as large as the gradients.
    update = sum(constant.values()) + 2 * learnt
    of_pass, in_pack = tracker.peak_by_stage.get("pass", 0), max(tracker.peak_by_stage["student"], update + token_bytes)
    if update > tracker.peak:
        parts = constant | {"gradients": constant["gradients"] + learnt, "transient": constant["transient"] + learnt}
        reserved = max(update, tracker.reserved)
        return MemoryPlan(held, update, of_pass, in_pack, reserved, dict(parts), "optimizer")
    parts = {str(part): size for part, size in tracker.parts_at_peak.items()}
    return MemoryPlan(held, tracker.peak, of_pass, in_pack, tracker.reserved, parts, "forward or backward")


def _materialize(module: Module) -> Module:
    """Give a module on the meta device real storage, submodule by submodule. Some may be shared and filled already."""
    for part in module.modules():
        own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if any(tensor.is_meta for tensor in own):
            part.to_empty(device="cpu", recurse=False)
    return module


def _run(spec: Experiment, meta_model: MetaModel, tracker: MemoryTracker) -> tuple[int, int]:
    """Run the parts of an accumulated step. Two parts suffice: gradients of the first stay for the others.

    Returns:
        Bytes held for backward, and bytes of the tokens that were read.
    """
    precision = spec.optimization.precision
    module = meta_model.module
    size, clips, task = spec.data.size, spec.clips_per_part, meta_model.task
    held = token_bytes = 0
    with tracker, _tag_gradients(module, tracker):
        for _ in range(min(2, spec.optimization.accumulation)):
            video = torch.empty((clips, spec.data.frames, 3, size, size), dtype=torch.uint8)
            targets = task.mock_targets(clips, "cpu")
            tracker.stage = "pass"
            features = _features(spec, meta_model, video)
            tracker.stage = "student"
            token_bytes = tracker.share(_token_tensors(features))
            with _tag_saved_tensors(module, tracker) as saved:
                with torch.autocast("cpu", dtype=AUTOCAST[precision], enabled=precision != "fp32"):
                    outputs = module(features, targets)
                loss = task.loss(outputs, targets)
            del outputs
            features.release()
            if loss.requires_grad:
                loss.backward()
            held = saved.total
            del loss, features, video, targets
            tracker.end_sharing()
    return held, token_bytes


def _features(spec: Experiment, meta_model: MetaModel, video: Tensor) -> FrozenFeatures:
    """The features: from a pass over the frames, or empty tensors of the cached shapes."""
    tower, reads = meta_model.tower, meta_model.reads
    if spec.features.kind == "computed":
        return features_of_batch(tower, MockBatch(video, None, blank_neighbours(video, reads.neighbours)), reads)
    layouts = entry_layouts(tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    return from_entries(tower, video, empty_entries(layouts, len(video), video.device), reads=reads)


def _token_tensors(features: FrozenFeatures) -> list[Tensor]:
    """The tensors that are freed after the last student has read them."""
    tokens: list[Tensor] = []
    for kept in features.tokens.values():
        tokens += [kept.codes_NPD, kept.scales_NPG] if isinstance(kept, Int8Tokens) else [kept]
    return [*tokens, *(part for pair in features.attention.values() for part in pair)]


@contextmanager
def _tag_saved_tensors(module: nn.Module, tracker: MemoryTracker) -> Iterator[SavedTensorBytes]:
    held = SavedTensorBytes(excluded={tensor.untyped_storage()._cdata for tensor in weights_under(module)})

    def tag_saved(tensor: Tensor) -> Tensor:
        tracker.tag([tensor], "held_for_backward")
        return held.add(tensor)

    with torch.autograd.graph.saved_tensors_hooks(tag_saved, lambda tensor: tensor):
        yield held


@contextmanager
def _tag_gradients(module: nn.Module, tracker: MemoryTracker) -> Iterator[None]:
    """Tag the gradient of each weight when it is accumulated; delete all gradients at the end."""

    def tag_gradient(parameter: Tensor) -> None:
        if parameter.grad is not None:
            tracker.tag([parameter.grad], "gradients")

    handles = [
        parameter.register_post_accumulate_grad_hook(tag_gradient)
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
