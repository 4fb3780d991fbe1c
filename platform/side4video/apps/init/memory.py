"""Makes the batch of a draft fit into the memory of a machine, by plans of its memory."""

from typing import Any

from side4video.apps.init.settings import Draft
from side4video.core.units import GIB, format_bytes
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment
from side4video.spec.machine import Machine

GPU_SHARE, GPU_CONTEXT = 0.9, GIB // 2
"""Of a GPU's memory, what a run may use; CUDA itself takes half a GiB before."""
MAIN_MEMORY_SHARE = 0.5
"""Without a GPU, of main memory; videos are decoded in the rest."""


def usable_bytes(machine: Machine) -> int:
    """The memory that one worker may use for training, in bytes."""
    if machine.gpus:
        return max(0, int(GPU_SHARE * min(gpu.memory_bytes for gpu in machine.gpus)) - GPU_CONTEXT)
    return int(MAIN_MEMORY_SHARE * machine.memory_bytes)


def fit_memory(draft: Draft, machine: Machine, *, classes: int, is_batch_given: bool) -> ExperimentPlan:
    """Plan the draft; while it does not fit, divide the batch into parts, or make it smaller for retrieval.

    Args:
        draft: Its `optimization` and comments are changed.
        machine: Where it is to run.
        classes: Number of classes.
        is_batch_given: Whether the user has set the batch, which then stays.

    Raises:
        InputError: The document is wrong, as the user has changed it.
    """
    budget = usable_bytes(machine)
    plan = _plan(draft, classes)
    tried = 1
    while _bytes(plan) > budget and not is_batch_given and _make_smaller(draft.document):
        plan, tried = _plan(draft, classes), tried + 1
    what = "GPU memory" if machine.gpus else "memory"
    said = f"planned: {format_bytes(_bytes(plan))} of {what} for each worker, and {format_bytes(budget)} can be used"
    if _bytes(plan) > budget:
        draft.notes.append(f"it does not fit into this machine ({said}); take a smaller backbone or another machine")
    if tried > 1:
        said += "; a larger part of a batch would not fit"
    draft.comments["optimization.batch_size"] = [f"Videos of one step; {said}."]
    return plan


def _bytes(plan: ExperimentPlan) -> float:
    return plan.reserved_memory_gib * GIB


def _plan(draft: Draft, classes: int) -> ExperimentPlan:
    return plan_experiment(parse_experiment(draft.document), classes=classes)


def _make_smaller(document: dict[str, Any]) -> bool:
    """Halve what is computed at a time; false if that is one video already."""
    experiment: Experiment = parse_experiment(document)
    optimization, workers = experiment.optimization, experiment.cluster.min_workers
    at_a_time = optimization.batch_size // workers // optimization.accumulation
    if at_a_time < 2 or at_a_time % 2:
        return False
    if experiment.task.kind == "retrieval":
        document["optimization"]["batch_size"] = optimization.batch_size // 2
    else:
        document["optimization"]["accumulation"] = optimization.accumulation * 2
    return True
