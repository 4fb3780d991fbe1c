"""The data section of a trained model's document, for videos that are not those of its data set."""

from collections.abc import Sequence

from side4video.data.datasets.list import GivenNamesSpec, ListSpec
from side4video.data.spec import DataSpec, SkipBrokenSpec
from side4video.inference.bundled_weights import NO_DATA
from side4video.spec.experiment import Experiment


def for_files(data: DataSpec, *, workers: int) -> DataSpec:
    """A run's data section for files that nobody vouches for, with no more processes than `workers`."""
    workers = min(data.loader.workers, workers)
    loader = data.loader.model_copy(update={"workers": workers, "cache": "none", "epochs_per_decode": 1})
    return data.model_copy(update={"broken_clips": SkipBrokenSpec(cap=1.0), "loader": loader})


def without_data(spec: Experiment, classes: Sequence[str]) -> Experiment:
    """The document with a data set that only knows its classes: the one that it was trained on need not be here."""
    names = GivenNamesSpec(names=tuple(classes) or (NO_DATA,))  # nothing reads those of a model with heads
    dataset = ListSpec(annotations=NO_DATA, class_names=names)
    # The classes are those of the selection already.
    data = spec.data.model_copy(update={"dataset": dataset, "classes": "all", "shots": None})
    return spec.model_copy(update={"data": data})
