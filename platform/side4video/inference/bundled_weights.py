"""The weights of an exported folder, as a model takes them, and what they are of."""

from pathlib import Path
from typing import Any

from side4video.models.towers.load import TowerWeights
from side4video.spec.bundle import BACKBONE, WEIGHTS, Bundle, read_bundle
from side4video.spec.experiment import Experiment
from side4video.tracking.chosen_weights import describe_weights

NO_DATA = "not needed"
"""The list of a data set that is not here, in the document of a model without its data."""


def read_trained(folder: Path) -> dict[str, Any]:
    """What a folder with a classifier holds, as the arguments of `Model`.

    Raises:
        InputError: It is no such folder, or a file of it was changed.
    """
    bundle, spec = read_bundle(folder)
    return {**arguments_of(folder, bundle, spec), "classes": bundle.classes, "heads": bundle.heads}


def arguments_of(folder: Path, bundle: Bundle, spec: Experiment) -> dict[str, Any]:
    """The arguments that `Model` and `RetrievalModel` have in common: document, weights, tower and its fingerprint."""
    backbone = read_backbone(folder, bundle)
    arguments: dict[str, Any] = {"spec": spec, "weights": folder / WEIGHTS}
    return {**arguments, "backbone": backbone, "backbone_sha256": bundle.backbone_sha256}


def read_backbone(folder: Path, bundle: Bundle) -> TowerWeights | None:
    """The frozen tower's weights; None where the folder has none."""
    if BACKBONE not in bundle.checksums:
        return None
    from safetensors.torch import load_file

    return TowerWeights(load_file(folder / BACKBONE), bundle.backbone_sha256)


def origin_of(bundle: Bundle) -> str:
    """Which run and epoch, or which file, the weights of an exported folder are of."""
    if form := bundle.origin.get("format", ""):
        return f"{bundle.name}, imported from {bundle.origin.get('file', 'a file')} ({form})"
    run = str(bundle.origin.get("run", ""))
    return f"run {run[:8]} ({bundle.name}), weights of {epoch_of(bundle)}"


def epoch_of(bundle: Bundle) -> str:
    """The epoch of the weights of an exported folder in words."""
    weights = bundle.origin.get("weights", "")
    return describe_weights(bundle.figures, "best" if weights == "best" else "last") if weights else "an unknown epoch"
