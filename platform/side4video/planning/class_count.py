"""How many classes an experiment has, for its plan."""

from collections.abc import Callable, Mapping

from side4video.core.errors import InputError
from side4video.data.selection import class_count
from side4video.spec.experiment import Experiment


def count_classes(experiment: Experiment, tell: Callable[[str], object]) -> int:
    """The data set's number of classes. If its files are not on this machine, the usual number, which is told.

    Raises:
        InputError: The files are not here, and there is no usual number.
    """
    data, dataset = experiment.data, experiment.data.dataset
    if experiment.task.kind == "multi-head":
        return sum(map(len, planned_heads(experiment).values()))
    try:
        return len(data.listed.classes())
    except InputError as error:
        if usual := dataset.usual_classes():
            tell(f"The files of {dataset.kind} are not here: planned for its usual {usual} classes.")
            return class_count(usual, data.classes)
        raise InputError(
            error.where, error.found, allowed=error.allowed, fix="give --classes N to plan without it"
        ) from None


def planned_heads(experiment: Experiment) -> Mapping[str, tuple[str, ...]]:
    """The classes of each head, of the task `multi-head`; numbers in place of names if the files are not here.

    Raises:
        InputError: The files are not here, and there is no usual number.
    """
    if experiment.task.kind != "multi-head":
        return {}
    try:
        return experiment.data.listed.heads()
    except InputError:
        if usual := getattr(experiment.data.dataset, "DEFAULT_HEADS", {}):
            return {name: tuple(map(str, range(count))) for name, count in usual.items()}
        raise
