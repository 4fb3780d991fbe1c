"""The YAML documents of experiments and sweeps: their fields, and how they are read and checked.

The names below are imported when they are used: the command line reads `spec.presets` without the documents.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment
    from side4video.spec.load import load_experiment, parse_experiment

__all__ = ["Experiment", "load_experiment", "parse_experiment"]


def __getattr__(name: str) -> object:
    """`Experiment`, `load_experiment` or `parse_experiment`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from side4video.spec import load

    return getattr(load, name)
