"""Loads the spec and weights of a stored run."""

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment
from side4video.spec.other_data import check_own_fields, take_data
from side4video.tracking.chosen_weights import Weights, choose_weights, describe_weights

log = logging.getLogger(__name__)
MAX_ARMS = 20
"""Arms of a sweep that an error names."""


@dataclass(frozen=True)
class FinishedRun:
    """A stored run and its spec."""

    run_id: str
    name: str
    source: str
    """Id of the run with the artifacts: another run, if this one is a copy of its result."""
    spec: Experiment
    start_ms: int = 0
    """Milliseconds since 1970."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Its metrics: the newest value of each."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """Its stored document, without overrides."""

    @property
    def title(self) -> str:
        """Which run it is, for the user: a name may be of several."""
        started = datetime.fromtimestamp(self.start_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
        return f"run {self.run_id[:8]} ({self.name}) of {started}"

    def choose(self, weights: str) -> Weights:
        """`best` or `last`; for `chosen`, what its document says (`evaluation.choose_epoch`)."""
        if weights == "best" or weights == "last":
            return weights
        return choose_weights(self.spec.evaluation.choose_epoch, self.metrics)

    def describe(self, weights: str) -> str:
        """The epoch of its weights in words."""
        return describe_weights(self.metrics, self.choose(weights))

    @property
    def where(self) -> str:
        """Its name in messages."""
        return f"run {self.run_id[:8]}"


def find_finished(
    store: Any, run: str, folder: Path, overrides: tuple[str, ...] = (), *, data: str = ""
) -> FinishedRun:
    """Find a run by id, start of an id, or name; of several with a name, the newest that is finished.

    `data` is an experiment file or a preset whose data section its document gets (`spec.other_data`).

    Raises:
        InputError: There is none, it is a sweep, or its spec is no longer valid.
    """
    from side4video.tracking.tags import REUSED_TAG

    run_info = _no_sweep(store, store.find(run, finished_first=True), run)
    source = run_info.tags.get(REUSED_TAG, run_info.run_id)
    document = json.loads(store.download(source, "spec.json", folder).read_text(encoding="utf-8"))
    # Documents of version 0.1.0 had no such field, and the best weights were taken.
    document.setdefault("evaluation", {}).setdefault("choose_epoch", "best")
    stored = copy.deepcopy(document)
    if data:
        document = take_data(document, data)
    for override in overrides:
        apply_override(document, override)
    if data:
        check_own_fields(document, stored)
    spec = parse_experiment(document, source=f"run {run_info.run_id[:8]}")
    return FinishedRun(run_info.run_id, run_info.name, source, spec, run_info.start_ms, run_info.metrics, stored)


def expand_sweeps(store: Any, names: Sequence[str]) -> list[str]:
    """Names of runs, with the ids of its finished arms in the place of each sweep.

    Raises:
        InputError: A sweep has no finished arm.
    """
    found: list[str] = []
    for name in names:
        arms = _arms_of(store, name)
        found += [name] if arms is None else arms
    return list(dict.fromkeys(found))


def _arms_of(store: Any, name: str) -> list[str] | None:
    """Ids of the finished arms of a sweep, in the order of their names; None if the name is no sweep's."""
    try:
        run = store.find(name, finished_first=True)
    except InputError:
        return None  # a folder, or a mistake that is told where the run is read
    if _run_of_name(store, run, name) is not None:
        return None
    arms = _finished_arms(store, run)
    if not arms:
        raise InputError(name, "it is a sweep, and none of its arms is finished", fix="wait, or continue the sweep")
    return [arm.run_id for arm in sorted(arms, key=lambda arm: (arm.name, arm.run_id))]


def _run_of_name(store: Any, found: Any, name: str) -> Any:
    """The run that was found; if that is the run of a sweep, another finished one of the same name, or None."""
    from side4video.tracking.tags import DIGEST_TAG, RUN_KIND_TAG, SWEEP_KIND

    if found.tags.get(RUN_KIND_TAG) != SWEEP_KIND:
        return found
    tags = (DIGEST_TAG,)  # which the runs of sweeps have not
    return next(iter(store.runs(name=name, status="FINISHED", with_tags=tags, all_experiments=True, limit=1)), None)


def _finished_arms(store: Any, sweep: Any) -> list[Any]:
    """The finished runs of a sweep's arms."""
    from side4video.tracking.tags import DIGEST_TAG, SWEEP_TAG

    key = {SWEEP_TAG: sweep.tags.get(SWEEP_TAG, "")}
    return store.runs(status="FINISHED", tags=key, with_tags=(DIGEST_TAG,), all_experiments=True)


def _no_sweep(store: Any, found: Any, name: str) -> Any:
    """The run of a name that is no sweep (`_run_of_name`).

    Raises:
        InputError: There is only the sweep, which has no weights. The error names its arms.
    """
    run = _run_of_name(store, found, name)
    if run is not None:
        return run
    names = [f"{arm.name} ({arm.run_id[:8]})" for arm in _finished_arms(store, found)]
    more = f" and {len(names) - MAX_ARMS} more" if len(names) > MAX_ARMS else ""
    raise InputError(
        name,
        "it is a sweep, which has no weights of its own",
        allowed=(", ".join(names[:MAX_ARMS]) or "its arms; none is finished yet") + more,
        fix="name one of its arms, by its name or its id",
    )


def class_names(store: Any, run: FinishedRun) -> tuple[str, ...]:
    """The class names of a run, in the order of its outputs: those it was trained with, whatever the list says now.

    Runs of version 0.1.0 did not store them: for those they are read from the data set.

    Raises:
        InputError: They were not stored, and the data set is gone or is not that of the run any more.
    """
    from side4video.tracking.pack_logger import CLASSES
    from side4video.tracking.run_store import artifact_text
    from side4video.tracking.tags import FINGERPRINT_TAG

    text = artifact_text(store, run.source, CLASSES, default="")
    if text:
        return tuple(json.loads(text))
    dataset = run.spec.data.listed
    names = dataset.classes()
    recorded = store.get(run.source).tags.get(FINGERPRINT_TAG, "")
    if recorded and run.spec.data.fingerprint() != recorded:
        said = "does not say what its classes were called, and its data set has changed: the names may be wrong"
        log.warning("%s %s", run.where, said)
    return names


def head_classes(store: Any, run: FinishedRun) -> dict[str, tuple[str, ...]]:
    """The class names of each head of a run, as it was trained with; empty for a task without heads."""
    from side4video.tracking.pack_logger import HEADS
    from side4video.tracking.run_store import artifact_text

    if run.spec.task.kind != "multi-head":
        return {}
    stored = json.loads(artifact_text(store, run.source, HEADS, default="{}"))
    return {name: tuple(names) for name, names in stored.items()}


def fetch_weights(store: Any, run: FinishedRun, folder: Path, weights: str) -> Path:
    """Download the `best`, `last` or `chosen` weights below a folder; returns the file.

    Raises:
        InputError: The run has none, or none yet.
    """
    from side4video.engine.epoch_callback import BEST, LAST_AVERAGE

    try:
        checkpoint = store.download(run.source, "checkpoint", folder)
    except InputError as error:
        _refuse_unfinished(store, run)
        raise error from None
    # A checkpoint holds one student here, whatever it was called among those it was trained with.
    students = [folder for folder in checkpoint.iterdir() if folder.is_dir()]
    names = (BEST,) if run.choose(weights) == "best" else (LAST_AVERAGE, "weights.safetensors")
    for file in (folder / name for folder in students[:1] for name in names):
        if file.is_file():
            return file
    _refuse_unfinished(store, run)
    raise InputError(
        run.where, f"has no weights of the {run.choose(weights)} epoch", fix="choose another run, or run it again"
    )


def _refuse_unfinished(store: Any, run: FinishedRun) -> None:
    """Say that a run has no weights because it trains, or because it was interrupted; else do nothing."""
    from side4video.tracking.run_holder import describe_holder

    stored = store.get(run.source)
    if stored.status == "FINISHED":
        return
    if holder := describe_holder(stored):
        raise InputError(run.where, f"it is not finished: {holder}", fix="wait until it ends")
    found = f"it is not finished ({stored.status.lower()}), so it has no weights"
    raise InputError(run.where, found, fix="continue it: side4video run SPEC --resume")


def fetch_trained(store: Any, name: str, folder: Path) -> tuple[FinishedRun, Path, str]:
    """Find a run and download its chosen weights; also returns the fingerprint of its tower.

    `name` is its id, the start of its id, or its name.

    Raises:
        InputError: There is no such run, or it has no weights.
    """
    run = find_finished(store, name, folder)
    return run, fetch_weights(store, run, folder, "chosen"), store.get(run.source).tags.get("backbone_sha256", "")
