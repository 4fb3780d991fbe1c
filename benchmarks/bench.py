"""A step of training on random frames, with torch alone: what the benchmarks of memory and speed both run.

Legend: B clips, T frames, C channels, H, W pixels.
"""

import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from side4video.core.units import as_gib
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer, phase_seconds
from side4video.engine.student import Student, StudentModule
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.experiment import Experiment
from side4video.tracking.environment import describe

CLASSES = 174
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class RandomBatch:
    """Random frames and labels."""

    video_BTCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor
    views_B: Tensor
    mixture: ClassVar[None] = None

    @classmethod
    def of(cls, clips: int, frames: int, size: int) -> "RandomBatch":
        """The same clips each time."""
        generator = torch.Generator().manual_seed(0)
        video = torch.randint(0, 256, (clips, frames, 3, size, size), dtype=torch.uint8, generator=generator)
        numbers = torch.arange(clips)
        return cls(video, numbers % CLASSES, numbers, torch.zeros(clips, dtype=torch.int64))

    def to(self, device: Any) -> "RandomBatch":
        """The same on a device."""
        return replace(self, **{name: tensor.to(device) for name, tensor in vars(self).items()})

    def __len__(self) -> int:
        return len(self.labels_B)


def random_tower(spec: Experiment, device: torch.device) -> FrozenTower:
    """The tower with normal weights, made on the device: drawing four billion numbers as a run does takes minutes."""
    tower = spec.backbone.build("meta").to_empty(device=device)
    for name, tensor in (*tower.named_parameters(), *tower.named_buffers()):
        if tensor.dtype == torch.int8:
            tensor.random_(-127, 128)
        elif "scales" in name or name.endswith("original1"):
            tensor.fill_(0.02 / 60)
        elif name in ("mean", "std"):
            tensor.fill_(0.5)
        elif tensor.ndim < 2:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            tensor.normal_(std=0.02)
    return tower


def build_pack(spec: Experiment, device: torch.device) -> Pack:
    """The experiment's student on a random tower."""
    process = ProcessGroup(device=device)
    tower = random_tower(spec, device)
    encode = functools.partial(spec.backbone.encode_texts, device="meta")
    task = spec.task.build(tuple(str(number) for number in range(CLASSES)), encode_texts=encode)
    torch.manual_seed(0)
    network = spec.method.build(tower, frames=spec.data.frames)
    head = task.head(network.output_dim)
    if any(tensor.is_meta for tensor in head.buffers()):
        head = head.to_empty(device="cpu")
        for tensor in head.buffers():
            tensor.normal_() if tensor.ndim else tensor.fill_(1.0)
    reads = spec.method.reads(tower.shape, frames=spec.data.frames)
    student = Student("bench", StudentModule(network, head), task, spec.optimization, 0, reads, process)
    return Pack.of_one_tower(functools.partial(features_of_batch, tower), [student])


def run_steps(pack: Pack, batch: RandomBatch, *, steps: int = 5) -> dict[str, float]:
    """Peak memory (GiB) over the steps after the first, and the median time of their phases (s)."""
    device = pack.students[0].process.device
    spent: dict[str, list[float]] = {}
    for step in range(steps):
        timer = StepTimer(device)
        timer.start()
        train_step(pack, [batch], step=step, plan=Plan(1000, 1000), timer=timer)
        if step == 0:
            reset(device)
            continue
        times = phase_seconds(timer.take())
        times["step"] = sum(times.values()) - times.get("transfer", 0.0)
        for name, value in times.items():
            spent.setdefault(name, []).append(value)
    figures = {f"{name}_s": statistics.median(values) for name, values in spent.items()}
    return figures | peaks(device) | {"clips_per_s": len(batch) / figures["step_s"]}


def reset(device: torch.device) -> None:
    """Begin a new peak."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, float]:
    """What the device's allocator handed out and reserved at most, GiB."""
    if device.type != "cuda":
        return {}
    torch.cuda.synchronize(device)
    return {
        "peak_gib": as_gib(torch.cuda.max_memory_allocated(device)),
        "reserved_gib": as_gib(torch.cuda.max_memory_reserved(device)),
    }


def medians(calls: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median seconds of each call, all of them in turn in each round, so that a machine's moods fall on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in spent.items()}


def library_tower(tower: FrozenTower) -> Callable[[Tensor, tuple[int, ...]], dict[int, Tensor]]:
    """open_clip's own forward of the tower, with hooks that keep the tapped blocks' tokens: the authors' way."""
    visual: nn.Module = tower.trunk.visual
    blocks = list(visual.transformer.resblocks)  # type: ignore[union-attr]

    @torch.no_grad()
    def run(frames_NCHW: Tensor, taps: tuple[int, ...]) -> dict[int, Tensor]:
        tokens: dict[int, Tensor] = {}
        callbacks = [
            blocks[tap].register_forward_hook(lambda _m, _i, out, tap=tap: tokens.__setitem__(tap, out)) for tap in taps
        ]
        try:
            visual(frames_NCHW)
        finally:
            for hook in callbacks:
                hook.remove()
        return tokens

    return run


def device_name(device: torch.device) -> str:
    """Of a device, for the name of a file."""
    return torch.cuda.get_device_name(device).replace(" ", "-").lower() if device.type == "cuda" else "cpu"


def save(name: str, record: dict[str, object]) -> Path:
    """Write a result with the machine and the versions it was made with.

    The environment variable BENCHMARK_RESULTS names another folder, for rehearsals.
    """
    environment = {key: value for key, value in describe().items() if key != "host"}
    folder = Path(os.environ.get("BENCHMARK_RESULTS", RESULTS))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    target.write_text(json.dumps(record | {"environment": environment}, indent=2) + "\n", encoding="utf-8")
    return target
