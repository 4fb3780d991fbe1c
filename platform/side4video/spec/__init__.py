"""The documents: an experiment, composed of the leaf specs of the rooms below, and how it is read and checked."""

from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment, parse_experiment

__all__ = ["Experiment", "load_experiment", "parse_experiment"]
