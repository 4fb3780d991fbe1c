"""How many classes an experiment has, for its plan."""

from collections.abc import Callable

from side4video.core.errors import InputError
from side4video.data.selection import class_count
from side4video.spec.experiment import Experiment


def count_classes(experiment: Experiment, tell: Callable[[str], object]) -> int:
    """The data set's number of classes. If its files are not on this machine, the usual number, which is told.

    Raises:
        InputError: The files are not here, and there is no usual number.
    """
    data, dataset = experiment.data, experiment.data.dataset
    try:
        return len(data.listed.classes())
    except InputError as error:
        if usual := dataset.usual_classes():
            tell(f"The files of {dataset.kind} are not here: planned for its usual {usual} classes.")
            return class_count(usual, data.classes)
        raise InputError(
            error.where, error.found, allowed=error.allowed, fix="give --classes N to plan without it"
        ) from None
