"""Resumes from the newest checkpoint that is complete on every worker."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from side4video.core.errors import InputError
from side4video.engine.checkpoint import read_state, restore_student
from side4video.engine.epoch_callback import EpochCallback
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint that a run may resume from."""

    name: str
    """Its path or URI."""
    fetch: Callable[[], Path]
    """Downloads it if it is not on this machine; returns the folder."""


def checkpoint_source(folder: Path) -> CheckpointSource:
    """A checkpoint in a local folder."""
    return CheckpointSource(str(folder), lambda: folder)


@dataclass(frozen=True)
class ResumePosition:
    """Where a run continues."""

    next_step: int = 0
    is_open: bool = False
    """Whether all steps of an epoch are done, but not yet its evaluation."""


def resume(
    checkpoint_sources: Sequence[CheckpointSource], students: Mapping[str, Student], epoch_callback: EpochCallback
) -> ResumePosition:
    """Restore a run from its newest complete checkpoint. Collective.

    Sources are newest first, the same on every worker; none starts at step 0. Students are freshly built. The callback
    gets the metrics of past epochs from the checkpoint.

    Raises:
        InputError: If no checkpoint is complete, or the newest is of another experiment or other weights.
    """
    process = epoch_callback.metrics_logger.process
    if not checkpoint_sources:
        return ResumePosition()
    folder, state, notes = newest_valid(checkpoint_sources, process)
    notes += _differences(state["identity"], epoch_callback.identity, students, folder)
    for student in students.values():
        restore_student(folder, student)
    epoch_callback.restore(folder, state)
    position = ResumePosition(int(state["next_step"]), bool(state.get("is_open", False)))
    if process.is_first:
        for note in notes:
            log.warning("%s", note)
        log.info("resumed at step %d from %s", position.next_step, folder)
    epoch_callback.notes += [*notes, f"went on from step {position.next_step}"]
    epoch_callback.report_recent(state)
    return position


def newest_valid(
    checkpoint_sources: Sequence[CheckpointSource], process: ProcessGroup
) -> tuple[Path, dict[str, Any], list[str]]:
    """The first source that every worker can read, its state, and notes about the damaged ones before it. Collective.

    Raises:
        InputError: If none is complete, with what is wrong with each; or one has another format.
    """
    wrong: list[str] = []
    for candidate in checkpoint_sources:
        folder, state, problem = Path(), {}, ""
        try:
            folder = candidate.fetch()
            state = read_state(folder)
        except (InputError, OSError) as error:
            problem = error.found if isinstance(error, InputError) else str(error)
        problems = [each for each in process.gather(problem) if each]
        if not problems:
            notes = [f"a damaged checkpoint was passed over: {each}" for each in wrong]
            return folder, state, notes
        wrong.append(f"{candidate.name}: {problems[0]}")
    raise InputError(
        "checkpoint",
        f"none is whole: {' · '.join(wrong)}",
        fix="bring one back from a copy, or run without --resume to start again",
    )


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], students: Mapping[str, Student], folder: Path
) -> list[str]:
    """Compare identities; return notes about a changed number of workers.

    Raises:
        InputError: If the backbone or the experiment differs.
    """
    # A part of a pack may resume alone: students do not depend on each other.
    digests = {name: before["digests"].get(name) for name in students}
    # "kin" are digests that leave out the number of workers, "others" those of paths in another spelling.
    lineage = {name: before.get("kin", {}).get(name) for name in students}
    is_same = digests == now["digests"] or all(_have_common_digest(before, now, name) for name in students)
    # Until version 0.2.0 a pack had one backbone, and one fingerprint.
    backbones = before.get("backbones") or dict.fromkeys(students, before.get("backbone"))
    for key, agrees in (
        ("backbone", all(backbones.get(name) == now["backbones"][name] for name in students)),
        ("digests", is_same or (lineage == now.get("kin") and None not in lineage.values())),
    ):
        if not agrees:
            raise InputError(
                str(folder),
                f"the checkpoint's {key} differs from this run's",
                fix="resume with the spec and the backbone weights it was written with, or start again",
            )
    old_world, world = int(before["world"]), int(now["world"])
    if old_world == world:
        return []
    reasons = _effects_of_worker_count(students, old_world, world)
    exact = "the same batches in the same order, equal to rounding"
    return [f"went on with {world} worker{'s' * (world > 1)} after {old_world}: " + ("; ".join(reasons) or exact)]


def _have_common_digest(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> bool:
    """Whether a student is of the same experiment, whatever the spelling of paths."""
    stored = {before["digests"].get(name), *before.get("others", {}).get(name, ())}
    return not stored.isdisjoint(now.get("others", {}).get(name, ()))


def _effects_of_worker_count(students: Mapping[str, Student], old_world: int, world: int) -> list[str]:
    """Why results differ with another number of workers; empty if they do not."""
    modules = [module for student in students.values() for module in student.module.modules()]
    has_local_norms = any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and not getattr(module, "synchronized", False)
        for module in modules
    )
    has_dropout = any(
        (isinstance(module, nn.Dropout) and module.p > 0) or getattr(module, "rate", 0.0) for module in modules
    )
    videos = next(iter(students.values())).spec.batch_size
    reasons = []
    if has_local_norms:
        reasons.append(
            f"batch norm statistics are now of {videos / world:g} videos, not {videos / old_world:g} "
            "(cluster.sync_batch_norm would make them those of the whole batch)"
        )
    if has_dropout:
        reasons.append("dropout draws anew: each worker has draws of its own")
    return reasons
