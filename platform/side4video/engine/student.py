"""A student: one trainable network with its own optimizer, scaler and random numbers, independent of others."""

import contextlib
import inspect
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from side4video.core.metric import MetricSpec
from side4video.core.seeds import derive_seed
from side4video.engine.memory import read_peak, state_bytes, weights_under
from side4video.engine.optimizer import build_average, build_optimizer, clip_gradients, set_learning_rate
from side4video.engine.optimizer_spec import OptimizerSpec
from side4video.engine.process_group import ProcessGroup

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WITHOUT_BUFFERS: Any = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}
)
"""Do not broadcast buffers in each forward. Torch 2.15 renames the option."""
MAX_SKIPPED_STEPS = 50
"""Consecutive steps that fp16 may skip while the scaler lowers its scale; after that the student has diverged."""


class TaskContract(Protocol):
    """The interface of a task for the engine."""

    main_metric: MetricSpec
    """The metric that selects the best epoch."""

    def targets(self, batch: Any, /) -> Any:
        """The targets of a batch, on the batch's device."""
        ...

    def mock_targets(self, clips: int, device: Any, /) -> Any:
        """Targets for a mock batch."""
        ...

    def loss(self, outputs: Any, targets: Any, /) -> Tensor:
        """The loss summed over this worker's clips."""
        ...

    def collector(self, module: nn.Module, videos: int, report_progress: Any = None, /) -> Any:
        """The collector of an evaluation (`engine.evaluate.Collector`)."""
        ...


class StudentModule(nn.Module):
    """A network and the head on it: frozen features in, the task's outputs out."""

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, features: Any, targets: Any = None) -> Tensor:  # noqa: ARG002 - another task's outputs need them
        """The task's outputs for the clips of `features`."""
        return self.head(self.network(features))


def _seed(device: torch.device, seed: int) -> None:
    # `torch.manual_seed` would also queue a call with a stack trace for each GPU that is not initialised.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@dataclass
class Student:
    """A module under training, its optimizer, scaler, weight average and random stream."""

    name: str
    module: nn.Module
    """`module(features, targets)` gives the task's outputs."""
    task: TaskContract
    spec: OptimizerSpec
    seed: int
    reads: Any
    """The features it needs from the frozen tower; `a | b` is the union of two requests."""
    process: ProcessGroup = field(default_factory=ProcessGroup)
    is_fixed: bool = False
    """Whether it is evaluated beside the others and never trained."""
    offset: int = 0
    """The step of the pass that is its step 0. It is a whole number of epochs, larger after each pause."""
    failure: str = ""
    """Why it failed, if its state is `failed`."""
    state: Literal["training", "stopped", "ended", "diverged", "failed"] = "training"
    """`stopped`: by a sweep. `ended`: by its own early stopping, with a result. `failed`: an error in a step."""
    optimizer: torch.optim.AdamW = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    replica: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        device = self.process.device
        self.module.to(device).train()
        self.optimizer = build_optimizer(self.module, self.spec)
        # Zero-shot trains nothing, and a scaler without a loss raises in `step`.
        is_scaled = self.spec.precision == "fp16" and self.trainable_parameters > 0
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_scaled)
        self.average = build_average(self.module, self.spec)
        self.skipped = 0
        self.dry_run_bytes = self.peak_bytes = 0
        self.memory_before: dict[str, float] = {}
        # Buffers are synchronised before each evaluation (`sync_buffers`) instead of before each step.
        self.replica = (
            DistributedDataParallel(self.module, **_WITHOUT_BUFFERS)
            if self.process.world > 1 and self.trainable_parameters
            else self.module
        )

    @property
    def is_training(self) -> bool:
        """Whether it still trains."""
        return self.state == "training"

    @property
    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)

    def own_step(self, step: int) -> int:
        """A step of the pass on this student's clock."""
        return step - self.offset

    def weights(self) -> list[Tensor]:
        """All parameters and buffers, with those of a borrowed tower and of the weight average."""
        modules = [self.module, *([self.average] if self.average is not None else [])]
        return [each for module in modules for each in (*weights_under(module), *module.buffers())]

    def is_finite(self) -> bool:
        """Whether all weights are: of the module, and of the weight average."""
        return all(bool(each.isfinite().all()) for each in self.weights() if each.is_floating_point())

    def memory_metrics(self) -> dict[str, float]:
        """Bytes, as `engine.memory` defines them: `process`; on a GPU `peak` and `reserved`, on a CPU `peak`.

        They are maxima over all processes of the run.
        """
        figures = read_peak(self.process.device)
        if self.dry_run_bytes:
            # A stopped student has freed its optimizer state, so keep the maximum.
            self.peak_bytes = max(self.peak_bytes, self.dry_run_bytes + state_bytes(self.optimizer))
            figures["peak"] = float(self.peak_bytes)
        return {key: max(value, self.memory_before.get(key, 0.0)) for key, value in figures.items()}

    @property
    def evaluated(self) -> nn.Module:
        """The module to evaluate: the weight average if there is one."""
        return self.average.module if self.average is not None else self.module

    def autocast(self, precision: str) -> torch.autocast:
        """The autocast context of a precision on this student's device."""
        return torch.autocast(self.process.device.type, dtype=AUTOCAST[precision], enabled=precision != "fp32")

    def accumulate(
        self, features: Any, targets: Any, *, clips: float, synchronize: bool, draw: int, is_last: bool = False
    ) -> Tensor:
        """Forward and backward on a micro-batch; returns the summed loss, detached.

        Args:
            features: The frozen features.
            targets: The task's targets.
            clips: Clips of the whole step, over all micro-batches and workers.
            synchronize: Whether to average gradients over workers (only for the last micro-batch).
            draw: Index of this micro-batch in the run, which seeds its random numbers.
            is_last: Whether no other student needs the features, so that they can be freed before backward.
        """
        waits = contextlib.nullcontext() if synchronize or self.replica is self.module else self.replica.no_sync()  # type: ignore[operator]
        devices = [self.process.device] if self.process.device.type == "cuda" else []
        with waits, torch.random.fork_rng(devices=devices):
            _seed(self.process.device, derive_seed(self.seed, "step", draw, self.process.rank))
            with self.autocast(self.spec.precision):
                outputs = self.replica(features, targets)
            if is_last:
                features.release()
            loss = self.task.loss(outputs, targets)
            if loss.requires_grad:  # zero-shot trains nothing
                # DDP averages gradients over workers; the factor makes it a mean over all clips.
                self.scaler.scale(loss * (self.process.world / clips)).backward()
        return loss.detach()

    def update(self, learning_rate: float) -> Tensor:
        """Apply the step's gradients; returns their global norm (before clipping), on the device."""
        set_learning_rate(self.optimizer, learning_rate)
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        norm = clip_gradients(parameters, self.spec)
        if norm is None:
            norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.module)
        return norm

    def check_gradient_norm(self, gradient_norm: float) -> None:
        """Stop the student as diverged if its gradients are not finite.

        The norm is of the averaged gradients, so all workers decide the same.
        """
        finite = np.isfinite(gradient_norm)
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped > (MAX_SKIPPED_STEPS if self.scaler.is_enabled() else 0):
            self.stop("diverged")

    def stop(self, state: Literal["stopped", "ended", "diverged", "failed"] = "stopped") -> None:
        """End the training and free the device memory; the weights move to host memory."""
        self.state = state
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        self.replica = self.module.cpu()
        if self.average is not None:
            self.average.cpu()

    def sync_buffers(self) -> None:
        """Copy the first worker's buffers (batch norm statistics) to all workers."""
        self.process.broadcast_tensors([buffer for buffer in self.evaluated.buffers() if buffer.is_floating_point()])
