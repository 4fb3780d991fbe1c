"""A trained model's document with the clips of another experiment."""

from collections.abc import Mapping
from typing import Any

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

OF_THE_MODEL = ("frames", "size", "neighbours")
"""Fields of the data section that stay the model's own."""


def take_data(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A document with the data section of another experiment; frames and their size stay the model's.

    `source` is an experiment file or a preset.

    Raises:
        InputError: It cannot be read, or is no experiment.
    """
    other = other_experiment(source).resolved()["data"]
    kept = {name: value for name, value in other.items() if name not in OF_THE_MODEL}
    own = {name: document["data"][name] for name in OF_THE_MODEL if name in document["data"]}
    return {**document, "data": {**kept, **own}}


def other_experiment(source: str) -> Experiment:
    """The experiment whose data are evaluated on: an experiment file or a preset.

    Raises:
        InputError: It cannot be read, or is no experiment.
    """
    try:
        return load_experiment(source)
    except InputError as error:
        if not error.found.startswith("it is a sweep"):
            raise
        # The command that starts a sweep is no help to who looks for data.
        fix = "name the file of its `base`, or another experiment with these data"
        raise InputError(error.where, error.found, allowed="an experiment file or a preset", fix=fix) from None


def check_own_fields(document: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Refuse an override of a field that stays the model's on other data.

    `document` is the one with other data and overrides, `model` that of the model.

    Raises:
        InputError: One has another value than in the model's document.
    """
    data = document["data"]
    for name in OF_THE_MODEL if isinstance(data, Mapping) else ():
        own = model["data"].get(name)
        if name in data and own is not None and data[name] != own:
            raise InputError(
                f"--set data.{name}",
                f"{data[name]}, and on other data it stays that of the model",
                allowed=f"{own}",
                fix="leave it out",
            )
