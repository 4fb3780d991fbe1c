"""An exported folder as `evaluate` takes it: the document with data of this machine, weights, and the tower."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from side4video.core.errors import InputError
from side4video.data.clip import Split
from side4video.inference.bundled_weights import NO_DATA, read_backbone
from side4video.models.towers.load import TowerWeights
from side4video.spec.bundle import WEIGHTS, Bundle, read_bundle
from side4video.spec.check_labels import check_evaluated_labels
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment
from side4video.spec.other_data import check_own_fields, take_data
from side4video.tasks.multi_head.class_check import check_heads
from side4video.tasks.recognition.class_order import in_order_of
from side4video.tasks.recognition.spec import TEXT_CLASSIFIERS


@dataclass(frozen=True)
class EvaluatedFolder:
    """What is evaluated."""

    bundle: Bundle
    spec: Experiment
    weights: Path
    """The student's weights, with the classifier in the order of the data set's classes."""
    backbone: TowerWeights
    """The tower's: those that the weights were trained on."""
    document: Mapping[str, Any]
    """The folder's own document, without overrides."""
    new_texts: bool = False
    """Whether the classifier is to be made of the data set's class names, which are others."""

    @property
    def identity(self) -> str:
        """A name for the weights: their checksum."""
        return self.bundle.checksums[WEIGHTS][:32]


def evaluated_folder(
    folder: Path, scratch: Path, *, data: str, overrides: Sequence[str], split: Split = "test"
) -> EvaluatedFolder:
    """Read a folder to evaluate it on a split.

    `data` is an experiment file or a preset whose data section is taken, with the model's number of frames and frame
    size; empty for the folder's own. Files that are made are below `scratch`.

    Raises:
        InputError: It is no such folder, a file of it was changed, the backbone is another one, an override is wrong,
            there is no data, its clips lack the labels of the task, or the data set has other classes.
    """
    bundle, stored = read_bundle(folder)
    document = stored.resolved()
    if data:
        document = take_data(document, data)
    for override in overrides:
        apply_override(document, override)
    if data:
        check_own_fields(document, stored.resolved())
    spec = parse_experiment(document, source=str(folder))
    if getattr(spec.data.dataset, "annotations", "") == NO_DATA:
        fix = "--data SPEC, an experiment file with the data set"
        raise InputError(str(folder), "its document has no data set", allowed="--data, with a folder", fix=fix)
    check_evaluated_labels(spec, split)
    backbone = read_backbone(folder, bundle) or spec.backbone.read_weights()
    if backbone.fingerprint != bundle.backbone_sha256:
        raise InputError(
            "backbone.weights",
            f"the tower's fingerprint is {backbone.fingerprint[:16]}…",
            allowed=f"{bundle.backbone_sha256[:16]}…, which the network was trained on",
            fix="use the same weights of the backbone, or export with --with-backbone",
        )
    weights, new_texts = folder / WEIGHTS, False
    wanted = spec.data.listed.classes() if bundle.classes else ()
    if spec.task.kind == "multi-head":
        check_heads(spec.data.listed.heads(), bundle.heads, where=str(folder))
    elif wanted != bundle.classes and spec.task.kind == "recognition" and spec.task.classifier.kind in TEXT_CLASSIFIERS:
        new_texts = True
    elif wanted != bundle.classes:
        state = in_order_of(wanted, bundle.classes, load_file(weights), where=str(folder))
        scratch.mkdir(parents=True, exist_ok=True)
        weights = scratch / WEIGHTS
        save_file(state, weights)
    return EvaluatedFolder(bundle, spec, weights, backbone, stored.resolved(), new_texts)
