"""Memory of a training step, from fake tensors: nothing is allocated, and no GPU is needed.

*Held for backward* is the same definition that a run measures (`engine.memory`). The peak follows every live storage
through forward and backward of one student; what an allocator adds (rounding, fragmentation, workspaces) is not in
it.
"""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from side4video.engine.memory import measure_held
from side4video.engine.student import AUTOCAST
from side4video.models.frozen_pass import frozen_features
from side4video.planning.shapes import Skeleton
from side4video.spec.experiment import Experiment

ADAM_MOMENTS = 2


class LiveStorages(TorchDispatchMode):
    """Bytes of the storages that are alive, and the most there ever were, of what is made inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and take note of the storages of its results."""
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        return result

    def ignore(self, tensor: Tensor) -> None:
        """Leave out what was there before (weights)."""
        self._seen.add(tensor.untyped_storage()._cdata)

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def plan_memory(spec: Experiment, skeleton: Skeleton) -> dict[str, int]:
    """Bytes on one worker: `tower`, `weights`, `gradients`, `optimizer`, `held_for_backward`, `transient`, `peak`.

    `transient` is what the worst moment of a step needs beyond the rest: intermediate results that are not kept.
    The peak is the sum of the parts.
    """
    videos = spec.optimization.batch_size // (spec.cluster.workers * spec.optimization.accumulation)
    size = spec.data.size
    shape = (videos * spec.data.repeated_sampling, spec.data.frames, 3, size, size)
    held, activations = _trace(spec, skeleton, shape)
    tower = _bytes(skeleton.tower)
    weights = _bytes(skeleton.module)
    gradients = sum(p.numel() * p.element_size() for p in skeleton.module.parameters() if p.requires_grad)
    averages = weights if spec.optimization.average.kind != "none" else 0
    parts = {
        "tower": tower,
        "weights": weights + averages,
        "gradients": gradients,
        "optimizer": ADAM_MOMENTS * gradients,
        "held_for_backward": held,
        "transient": max(0, activations - held),
    }
    return parts | {"peak": sum(parts.values())}


def _trace(spec: Experiment, skeleton: Skeleton, shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes held for backward, and the most bytes of activations alive in a step (gradients of weights left out)."""
    precision = spec.optimization.precision
    with FakeTensorMode(allow_non_fake_inputs=True):
        tower = skeleton.tower.to_empty(device="cpu")
        module = skeleton.module.to_empty(device="cpu").train()
        video = torch.empty(shape, dtype=torch.uint8)
        follow = LiveStorages()
        for tensor in (*tower.parameters(), *tower.buffers(), *module.parameters(), *module.buffers()):
            follow.ignore(tensor)
        with follow:
            features = frozen_features(tower, video, skeleton.reads)
            with measure_held(module.parameters()) as held:
                with torch.autocast("cpu", dtype=AUTOCAST[precision], enabled=precision != "fp32"):
                    outputs = module(features)
                loss = outputs.float().logsumexp(dim=-1).sum()
            _drop_gradients(module)
            loss.backward()
        return held.total, follow.peak


def _drop_gradients(module: nn.Module) -> None:
    """Let each weight's gradient go as soon as it is there: they are a part of the plan of their own."""

    def drop(parameter: Tensor) -> None:
        parameter.grad = None

    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(drop)


def _bytes(module: nn.Module) -> int:

    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
