"""What only this machine can tell of a document: whether the files are there that it names, and what is in them."""

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment


def check_files(spec: Experiment) -> None:
    """Read the annotations, look for the weights; decode nothing, download nothing, make nothing.

    Raises:
        InputError: If something is missing or does not fit.
    """
    spec.backbone.check()
    dataset = spec.data.dataset
    dataset.check()
    flips = spec.data.augmentation.flip_probability
    if flips and dataset.mirrored_classes() is None:
        raise InputError(
            "data.augmentation.flip_probability",
            f"{flips:g}, but the labels know left from right and no mirrored labels are given",
            allowed="0, or a data set that says which label a mirrored clip has",
            fix="set it to 0, or describe the mirrored labels in data.dataset",
        )
