"""Tower and student of an experiment without values: on the meta device, or as fake tensors."""

import functools
from dataclasses import dataclass

import torch
from torch import nn

from side4video.engine.student import TaskContract
from side4video.models.feature_request import FeatureRequest
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.class_count import planned_heads
from side4video.spec.experiment import Experiment
from side4video.tasks.context import TaskContext


@dataclass(frozen=True)
class MetaModel:
    """Modules with shapes and without values."""

    tower: FrozenTower
    module: nn.Module
    reads: FeatureRequest
    task: TaskContract


def build_meta_model(spec: Experiment, *, classes: int) -> MetaModel:
    """The tower and the student of an experiment on the meta device."""
    heads = planned_heads(spec)
    tower = spec.backbone.build("meta")
    with torch.device("meta"):
        context = TaskContext(
            method=spec.method,
            tower=tower,
            frames=spec.data.frames,
            classes=tuple(str(number) for number in range(classes)),
            encode_texts=functools.partial(spec.backbone.encode_texts, device="meta"),
            text_tower=functools.partial(spec.backbone.build_text_tower, device="meta"),
            mixes_labels=spec.data.augmentation.mixes_clips,
            heads=heads,
        )
        task, module = spec.task.assemble(context)
    if spec.start is not None and not spec.start.trains:
        module.requires_grad_(False)
    return MetaModel(tower, module, spec.reads, task)
