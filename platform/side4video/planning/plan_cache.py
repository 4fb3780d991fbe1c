"""Peaks that were planned before: the same experiment, planned by the same code, needs no second trace.

A trace on fake tensors takes seconds. What was planned lies in `$SIDE4VIDEO_HOME/plans`, one small file an experiment,
named by the hash of the document, the width of the head, torch's version and this package's own source; so a change of
any of them plans anew.
"""

import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from side4video.core.paths import home
from side4video.spec.experiment import Experiment

FOLDER = "plans"


@dataclass(frozen=True)
class PlannedPeak:
    """What is kept of a plan: bytes, and a count."""

    peak: int
    """Bytes of one worker."""
    tower_parameters: int


def planned_peak(spec: Experiment, *, classes: int) -> PlannedPeak:
    """The peak of a training step, from a former plan or a new one.

    Args:
        spec: The experiment.
        classes: Width of the head.
    """
    file = home() / FOLDER / f"{_key(spec, classes)}.json"
    try:
        return PlannedPeak(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass  # never planned, or the file is damaged: it is planned now
    made = _plan(spec, classes)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(made)), encoding="utf-8")
    partial.replace(file)
    return made


def _plan(spec: Experiment, classes: int) -> PlannedPeak:
    from side4video.planning.memory import plan_memory
    from side4video.planning.meta_model import build_meta_model

    meta_model = build_meta_model(spec, classes=classes)
    tower = sum(parameter.numel() for parameter in meta_model.tower.parameters())
    return PlannedPeak(plan_memory(spec, meta_model).peak, tower)


def _key(spec: Experiment, classes: int) -> str:
    text = json.dumps([spec.resolved(), classes, _code_hash()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def _code_hash() -> str:
    """What the plan follows from beside the document: torch, and every module of this package."""
    from importlib.metadata import version

    found = hashlib.sha256(version("torch").encode())
    package = Path(__file__).resolve().parents[1]
    for file in sorted(package.rglob("*.py")):
        found.update(file.relative_to(package).as_posix().encode())
        found.update(file.read_bytes())
    return found.hexdigest()
