"""Caches planned peaks on disk, because tracing an experiment on fake tensors takes seconds.

The figure of training memory (the paper's Figure 1) plans every method on several backbones; with the cache, drawing it
again needs no trace. Plans are in `$SIDE4VIDEO_HOME/plans`, one small file per experiment. The file name is a hash of
the document, the number of classes, torch's version and the source code of this package. So a change of any of them
plans again.
"""

import functools
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from side4video.core.files import write_atomically
from side4video.core.paths import home
from side4video.planning.class_count import planned_heads
from side4video.spec.experiment import Experiment

FOLDER = "plans"


@dataclass(frozen=True)
class PlannedPeak:
    """The cached part of a plan."""

    peak: int
    """Predicted peak of one worker, in bytes."""
    tower_parameters: int


def planned_peak(spec: Experiment, *, classes: int) -> PlannedPeak:
    """The peak of a training step, from the cache or from a new plan; `classes` is the width of the head."""
    file = home() / FOLDER / f"{plan_key(spec, classes)}.json"
    try:
        return PlannedPeak(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass  # never planned, or the file is damaged: it is planned now
    made = trace_peak(spec, classes)
    with suppress(OSError):  # a full disk: it is planned again the next time
        write_atomically(file, json.dumps(asdict(made)))
    return made


def trace_peak(spec: Experiment, classes: int) -> PlannedPeak:
    """Plan a training step, without a cache."""
    from side4video.planning.memory import plan_memory
    from side4video.planning.meta_model import build_meta_model

    meta_model = build_meta_model(spec, classes=classes)
    tower = sum(parameter.numel() for parameter in meta_model.tower.parameters())
    return PlannedPeak(plan_memory(spec, meta_model).peak, tower)


def plan_key(spec: Experiment, classes: int) -> str:
    """The name of a plan's file."""
    heads = [len(names) for names in planned_heads(spec).values()]
    text = json.dumps([spec.resolved(), classes, _code_hash(), *([heads] if heads else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def _code_hash() -> str:
    """Hash of torch's version and of all modules of this package."""
    from importlib.metadata import version

    found = hashlib.sha256(version("torch").encode())
    package = Path(__file__).resolve().parents[1]
    for file in sorted(package.rglob("*.py")):
        found.update(file.relative_to(package).as_posix().encode())
        found.update(file.read_bytes())
    return found.hexdigest()
