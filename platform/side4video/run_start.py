"""Fills a new student with the weights that its experiment starts from."""

from safetensors.torch import load_file

from side4video.core.errors import InputError
from side4video.engine.checkpoint import fill_tensors
from side4video.engine.student import Student
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.bundle import SPEC, WEIGHTS
from side4video.spec.experiment import Experiment
from side4video.tasks.recognition.class_order import in_order_of


def load_start(student: Student, spec: Experiment, tower: FrozenTower) -> None:
    """Fill a new student with the weights that its experiment starts from, if it names some.

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
    if bundle.classes:
        tensors = in_order_of(spec.data.dataset.classes(), bundle.classes, tensors, where="start.folder")
    fill_tensors(student.module, tensors, folder / WEIGHTS)
    student.is_fixed = not spec.start.trains
