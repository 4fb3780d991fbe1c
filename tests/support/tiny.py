"""A whole experiment that takes a second: real clips, a toy tower, two steps an epoch."""

import copy
from typing import Any

from side4video.spec import Experiment, parse_experiment

DOCUMENT: dict[str, Any] = {
    "name": "tiny",
    "backbone": {
        "kind": "vit",
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "head_width": 8,
        "weights": {"kind": "random", "seed": 0},
        "precision": "fp32",
    },
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {
        "dataset": {"kind": "motion", "train_clips": 20, "test_clips": 20, "frames": 8, "size": 32},
        "size": 32,
        "frames": 4,
        "decoder": "pyav",
        "loader": {"workers": 0},
    },
    "optimization": {"batch_size": 8, "length": {"epochs": 2}, "warmup": {"steps": 1}, "precision": "fp32"},
    "evaluation": {"batch_size": 6},
    "cluster": {"cpus_per_worker": 1},
}


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a document with some values, also deep ones, changed. A section with a `kind` replaces the old one."""
    result = copy.deepcopy(document)
    for key, value in changes.items():
        deep = isinstance(value, dict) and isinstance(result.get(key), dict) and "kind" not in value
        result[key] = merged(result[key], value) if deep else value
    return result


def tiny(**changes: Any) -> Experiment:
    """The experiment, with changes."""
    return parse_experiment(merged(DOCUMENT, changes))
