"""A trained model's document with the clips of another experiment."""

from collections.abc import Mapping
from typing import Any

from side4video.core.errors import InputError
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
    try:
        other = load_experiment(source)
    except InputError as error:
        if not error.found.startswith("it is a sweep"):
            raise
        # The command that starts a sweep is no help to who looks for data.
        fix = "name the file of its `base`, or another experiment with these data"
        raise InputError(error.where, error.found, allowed="an experiment file or a preset", fix=fix) from None
    return {**document, "data": {**other.resolved()["data"], **own}}
