"""Fills a new student with weights: those that its experiment starts from, or trained ones to be evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from side4video.core.errors import InputError
from side4video.engine.checkpoint import fill_tensors, load_tensors
from side4video.engine.student import Student
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.bundle import SPEC, WEIGHTS
from side4video.spec.experiment import Experiment
from side4video.tasks.multi_head.class_check import check_heads
from side4video.tasks.recognition.class_order import OF_TEXTS, in_order_of


def load_start(
    student: Student, spec: Experiment, tower: FrozenTower, *, texts: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Fill a new student with the weights that its experiment starts from, if it names some.

    `texts` are tensors that are made of the texts of the classes: they stand for those of the folder, whose classes may
    then be others.

    Raises:
        InputError: The folder is another model's, of another tower, or has other classes.
    """
    if spec.start is None:
        return
    folder, bundle = spec.start.read(spec)
    if bundle.backbone_sha256 != tower.fingerprint():
        raise InputError(
            "start.folder",
            f"the weights in {folder} were trained on another tower ({bundle.backbone_sha256[:16]}…)",
            allowed=f"weights of this one ({tower.fingerprint()[:16]}…)",
            fix=f"take the backbone of {folder}/{SPEC}",
        )
    tensors = load_file(folder / WEIGHTS)
    if spec.task.kind == "multi-head":
        check_heads(spec.data.listed.heads(), bundle.heads, where="start.folder")
    elif texts:
        tensors |= texts
    elif bundle.classes:
        tensors = in_order_of(spec.data.listed.classes(), bundle.classes, tensors, where="start.folder")
    fill_tensors(student.module, tensors, folder / WEIGHTS)
    student.is_fixed = not spec.start.trains


@dataclass(frozen=True)
class WeightChanges:
    """How the evaluated weights differ from the trained ones."""

    new_texts: bool = False
    """The classifier is made anew of the class names that the experiment has now."""
    trained_share: float = 1.0
    """Share of the trained weights, 0 to 1; the rest is the weights before training (WiSE-FT: Wortsman et al., 2022,
    arXiv 2109.01903, eq. 2)."""

    @property
    def reads_texts(self) -> bool:
        """Whether the backbone's text tower is needed."""
        return self.new_texts or self.trained_share < 1.0


def load_trained(student: Student, spec: Experiment, tower: FrozenTower, file: Path, changes: WeightChanges) -> None:
    """Fill a new student, which has its initial weights, with trained ones.

    Raises:
        InputError: The file does not fit the experiment.
    """
    module = student.module
    if not changes.new_texts and changes.trained_share == 1.0:
        load_tensors(module, file)
        return
    initial = _copy_of(module)
    trained = load_file(file)
    texts = {name: initial[name] for name in OF_TEXTS if name in initial} if changes.new_texts else {}
    trained |= texts
    fill_tensors(module, trained, file)
    if changes.trained_share < 1.0:
        if spec.start is not None:
            load_start(student, spec, tower, texts=texts)
            initial = _copy_of(module)
            fill_tensors(module, trained, file)
        _mix(module, initial, changes.trained_share)


def _copy_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@torch.no_grad()
def _mix(module: torch.nn.Module, initial: dict[str, torch.Tensor], trained_share: float) -> None:
    """Replace each floating-point tensor by `trained_share` of it and the rest of the initial one."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(initial[name].double(), tensor.double(), trained_share))
