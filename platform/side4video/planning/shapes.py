"""A run's tower and student without their numbers: on the meta device, or as fake tensors."""

import functools
from dataclasses import dataclass

import torch

from side4video.engine.student import StudentModule
from side4video.models.reads import Reads
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class Skeleton:
    """Modules that have shapes and no values."""

    tower: FrozenTower
    module: StudentModule
    reads: Reads


def build_skeleton(spec: Experiment, *, classes: int) -> Skeleton:
    """The tower and the student of an experiment on the meta device."""
    tower = spec.backbone.build("meta")
    with torch.device("meta"):
        network = spec.method.build(tower, frames=spec.data.frames)
        task = spec.task.build(
            tuple(str(number) for number in range(classes)),
            encode_texts=functools.partial(spec.backbone.encode_texts, device="meta"),
        )
        module = StudentModule(network, task.head(network.output_dim))
    return Skeleton(tower, module, spec.method.reads(tower.shape, frames=spec.data.frames))
