"""The YAML documents of experiments and sweeps: their fields, and how they are read and checked."""

from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment, parse_experiment

__all__ = ["Experiment", "load_experiment", "parse_experiment"]
