"""A trained model's document with the clips of another experiment."""

from collections.abc import Mapping
from typing import Any

from side4video.spec.load import load_experiment

OF_THE_MODEL = ("frames", "size")
"""Fields of the data section that stay the model's own."""


def take_data(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A document with the data section of another experiment; number and size of frames stay the model's.

    `source` is an experiment file or a preset.

    Raises:
        InputError: It cannot be read, or is no experiment.
    """
    own = {name: document["data"][name] for name in OF_THE_MODEL}
    return {**document, "data": {**load_experiment(source).resolved()["data"], **own}}
