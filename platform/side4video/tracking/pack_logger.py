"""Logs a pack: one run in the store for each student, from the start to the result."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from side4video.core.errors import Side4VideoError
from side4video.core.metric import Metric
from side4video.core.paths import absolute_path
from side4video.spec.experiment import SCHEMA_VERSION, Experiment
from side4video.tasks.recognition.temperature import TEMPERATURE
from side4video.tracking.chosen_weights import temperature_note
from side4video.tracking.copying_store import copy_failures
from side4video.tracking.description import RunSummary, current_command, failure_description, run_description
from side4video.tracking.environment import describe
from side4video.tracking.mlflow import compat
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG
from side4video.tracking.run_inputs import changed_inputs
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.stores import open_store
from side4video.tracking.tags import (
    ABSOLUTE_TAG,
    CHECKPOINTS_TAG,
    DIGEST_TAG,
    FINGERPRINT_TAG,
    KEY_TAG,
    LINEAGE_TAG,
    MIXED_WORKERS,
    NOTES_TAG,
    STATE_TAG,
    SWEEP_TAG,
    WEIGHTS_TAG,
)

log = logging.getLogger(__name__)

CLASSES = "classes.json"
HEADS = "heads.json"
"""The classes of each head, of runs of the task `multi-head`."""
RESULT_FILES = (
    "predictions.csv",
    "views.csv",
    "scores.npz",
    "class_accuracy.json",
    "class_average_precision.json",
    "head_classes.json",
)
"""The files that the evaluations of tasks write, of which each run has some."""
"""Artifact: the class names of a run, in the order of its outputs."""

PREDICTED = {
    "peak_memory_gib": "plan/peak_memory_gib",  # MLflow's comparison shows the first one by default
    "trainable_parameters": "plan/trainable_parameters",
    "multiply_adds": "plan/multiply_adds_per_view",
    "multiply_adds_all_views": "plan/multiply_adds_all_views",
    "held_for_backward_gib": "plan/held_for_backward_gib",
}
"""Fields of a plan and their metrics, logged beside the measured ones (`model/*`, `memory/*`)."""


@dataclass(frozen=True)
class ArmRunInfo:
    """How an arm's run belongs to its sweep."""

    parent: str
    """Id of the sweep's run."""
    key: str
    """Identifies the arm's run, also after a restart."""
    name: str
    """The run's name: short, for MLflow's tables."""
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    """Swept fields under short names, in addition to the spec."""
    predicted: Mapping[str, float]
    """Predicted metrics of the pack, in addition to those of the student alone."""
    joins_a_pass: bool = False
    """Whether the epochs that it sees are known at its end only: then `data.first_epoch` is no parameter before."""


@dataclass(frozen=True)
class PackLogger:
    """The runs of a pack's students. It is picklable, because on Ray another process logs the epochs."""

    store: RunStore
    run_ids: Mapping[str, str]
    about: Mapping[str, RunSummary] = field(default_factory=dict)
    """A summary of each student for its description."""

    def log(self, metrics: Mapping[str, Sequence[Metric]], notes: Sequence[str] = ()) -> None:
        """Log metrics and notes. Values that are stored already are ignored."""
        for name, series in metrics.items():
            if series:
                self.store.log(self.run_ids[name], list(series))
            if notes:
                self.store.set_tags(self.run_ids[name], {NOTES_TAG: "\n".join(notes)})

    def hand_over(self) -> None:
        """Let another process log from here on."""
        self.store.flush()

    def set_tag(self, name: str, value: str) -> None:
        """Set a tag of every student's run."""
        for run_id in self.run_ids.values():
            self.store.set_tags(run_id, {name: value})

    def close(self, name: str, result: Mapping[str, Any], checkpoint: Path | None) -> list[str]:
        """Log the result of a student, with its best weights, predictions and checkpoint.

        Returns:
            The notes of the run: those of the result, and those about places of `tracking.also` that failed.
        """
        run_id = self.run_ids[name]
        self.store.forget(run_id)  # on Ray, another process logged metrics
        last = result["steps"] - 1
        final = {f"memory/{key}": value for key, value in result["memory"].items()}
        final |= {f"time/mean_{key}": value for key, value in result["time"].items()}
        final["train/steps_trained"] = float(result["steps_trained"])
        final["data/broken_clips"] = float(len(result["broken_clips"]))
        if "alone_step_s" in result["time"]:
            final["time/alone_s"] = result["time"]["alone_step_s"] * result["steps_trained"]
        self.store.log(run_id, [Metric.now(key, value, last) for key, value in final.items()])
        tags = {STATE_TAG: result["state"], "backbone_sha256": result["backbone_fingerprint"]}
        notes = [*result.get("notes", ()), *_doubts(result.get("metrics", {}))]
        if notes:
            tags[NOTES_TAG] = "\n".join(notes)
        if name in self.about:
            described = {**result, "notes": [*notes, *copy_failures(self.store, run_id)]}
            tags[DESCRIPTION_TAG] = run_description(self.about[name], run_id, described)
        self.store.set_tags(run_id, tags)
        if result["broken_clips"]:
            self.store.log_json(run_id, result["broken_clips"], "broken_clips.json")
        if checkpoint is not None:
            for file in RESULT_FILES:
                if (checkpoint / name / file).is_file():
                    self.store.log_file(run_id, checkpoint / name / file, file)
            _log_weights(self.store, run_id, checkpoint, name, is_finished=result["state"] == "finished")
        self.store.finish(run_id, "FAILED" if result["state"] == "diverged" else "FINISHED")
        return [*notes, *copy_failures(self.store, run_id)]

    def fail(self, reason: str, *, killed: bool = False) -> None:
        """Log that the training ended without a result.

        Where nothing can be written any more, such as on a full disk, the run stays as it is, with a warning.
        """
        for name, run_id in self.run_ids.items():
            tags = {STATE_TAG: "interrupted" if killed else "failed", "failure": reason[:2000]}
            try:
                self.store.finish(run_id, "KILLED" if killed else "FAILED")
                self.store.set_tags(run_id, tags)
                if name in self.about:
                    description = failure_description(self.about[name], reason, killed=killed)
                    self.store.set_tags(run_id, {DESCRIPTION_TAG: description})
            except (Side4VideoError, OSError) as error:
                log.warning("the end of run %s could not be recorded; --resume continues it (%s)", run_id[:8], error)


def open_pack_logger(
    experiments: Mapping[str, Experiment],
    *,
    plans: Mapping[str, Mapping[str, Any]],
    fingerprint: str,
    checkpoint_folder: str,
    resume: bool = False,
    key: str = "",
    arm_runs: Mapping[str, ArmRunInfo] = MappingProxyType({}),
) -> PackLogger:
    """Start or continue the run of each student.

    `experiments` and `plans` are by student name. `resume` continues the unfinished run of the same key instead of
    starting a new one. `key` is that of the run to continue, if it is not made of the folder and the student's name.
    `arm_runs` says how runs of arms belong to their sweep.
    """
    store = open_store(next(iter(experiments.values())).tracking).prepare()
    store.flush()  # deliver what runs logged during an outage
    environment, command = describe(), current_command()
    run_ids, about = {}, {}
    for name, spec in experiments.items():
        tags = {
            **_tags_of(spec),
            CHECKPOINTS_TAG: checkpoint_folder,
            STATE_TAG: "training",
            FINGERPRINT_TAG: spec.data.name_fingerprint(fingerprint),
            **environment,
            **_source(environment, command),
            **spec.tracking.tags,
        }
        arm_run = arm_runs.get(name)
        run_key = arm_run.key if arm_run else key or f"{checkpoint_folder}/{name}"
        if resume and not arm_run:
            tags[DIGEST_TAG] = _digest_now(store, run_key, spec)
        goes_on = resume and not (arm_run and _end_on_other_inputs(store, run_key, spec, fingerprint))
        run_id = store.start_run(
            name=arm_run.name if arm_run else spec.tracking.run_name or spec.name,
            key=run_key,
            tags={**tags, **(arm_run.tags if arm_run else {})},
            params={**(arm_run.params if arm_run else {}), **_params(spec, arm_run)},
            parent=arm_run.parent if arm_run else None,
            resume=goes_on,
        )
        store.log_json(run_id, spec.resolved(), "spec.json")
        store.log_json(run_id, list(spec.data.listed.classes()), CLASSES)
        if spec.task.kind == "multi-head":
            store.log_json(run_id, {name: list(each) for name, each in spec.data.listed.heads().items()}, HEADS)
        store.log_json(run_id, dict(plans[name]), "plan.json")
        pack_predicted = arm_run.predicted if arm_run else {}
        predicted = [Metric.now(key, plans[name][field], 0) for field, key in PREDICTED.items()]
        predicted += [Metric.now(key, value, 0) for key, value in pack_predicted.items()]
        store.log(run_id, predicted)
        run_ids[name] = run_id
        about[name] = RunSummary.of(
            spec, plans[name], protocol=_protocol(spec), pack_predicted=pack_predicted, command=command
        )
    return PackLogger(store, run_ids, about)


def _params(spec: Experiment, arm_run: ArmRunInfo | None) -> dict[str, Any]:
    document = spec.resolved()
    if arm_run and arm_run.joins_a_pass:
        document["data"] = {key: value for key, value in document["data"].items() if key != "first_epoch"}
    return document


def _end_on_other_inputs(store: RunStore, key: str, spec: Experiment, fingerprint: str) -> bool:
    """Whether an arm's unfinished run began on other data or weights; then it is ended, and the arm gets another."""
    for run in store.runs(tags={KEY_TAG: key}):
        if not changed_inputs(run, spec, fingerprint):
            return False
        if run.status == "RUNNING":
            store.set_tags(run.run_id, {STATE_TAG: "interrupted"})
            store.finish(run.run_id, "KILLED")
    return True


def _tags_of(spec: Experiment) -> dict[str, str]:
    """Tags that depend on the spec alone."""
    return {
        DIGEST_TAG: spec.digest(),
        LINEAGE_TAG: spec.digest(ignore_workers=True),
        ABSOLUTE_TAG: spec.digest(spell=absolute_path),
        "schema_version": str(SCHEMA_VERSION),
        "method": spec.method.kind,
        "backbone": getattr(spec.backbone, "model", spec.backbone.kind),
        "dataset": spec.data.dataset.kind,
        "decoder": spec.data.decoder,
        "protocol": _protocol(spec),
        WEIGHTS_TAG: spec.weights_identity(),
    }


def _source(environment: Mapping[str, str], command: str) -> dict[str, str]:
    """The tags of a run's source in MLflow's pages."""
    commit = environment["commit"].partition("+")[0]
    known = {compat.COMMIT_TAG: commit} if commit != "unknown" else {}
    return known | (
        {compat.SOURCE_TAG: " ".join(command.split()[:2]), compat.SOURCE_TYPE_TAG: compat.LOCAL_SOURCE}
        if command
        else {}
    )


def find_unfinished(spec: Experiment) -> StoredRun | None:
    """The newest unfinished run of this experiment, else of the same experiment with another number of workers.

    Arms of sweeps are left out: their sweep continues them.
    """
    store = open_store(spec.tracking).prepare()
    asked = [(DIGEST_TAG, digest) for digest in spec.digests()]
    asked += [(ABSOLUTE_TAG, spec.digest(spell=absolute_path))]
    asked += [(LINEAGE_TAG, digest) for digest in spec.digests(ignore_workers=True)]
    for tag, digest in asked:
        for run in store.runs(tags={tag: digest}):
            if run.status != "FINISHED" and SWEEP_TAG not in run.tags:
                return run
    return None


def _digest_now(store: RunStore, key: str, spec: Experiment) -> str:
    """The digest of a resumed run. On another number of workers it is a result of neither experiment."""
    before = next((run.tags.get(DIGEST_TAG, "") for run in store.runs(tags={KEY_TAG: key})), "")
    same = before in ("", *spec.digests())
    return (
        spec.digest()
        if same
        else before
        if before.startswith(MIXED_WORKERS)
        else f"{MIXED_WORKERS} {before[:16]}, {spec.digest()[:16]}"
    )


def _doubts(metrics: Mapping[str, float]) -> list[str]:
    """What is to be known about the temperature that the run has fitted."""
    value = metrics.get(f"eval/{TEMPERATURE}", math.nan)
    note = temperature_note(metrics, value) if math.isfinite(value) else ""
    return [note] if note else []


def _log_weights(store: RunStore, run_id: str, checkpoint: Path, name: str, *, is_finished: bool) -> None:
    """Log a student's part of a checkpoint, with the optimizer's state only if the run is not finished."""
    store.log_file(run_id, checkpoint / "checkpoint.json", "checkpoint/checkpoint.json")
    for file in sorted((checkpoint / name).iterdir()):
        if not is_finished or file.name != "optimizer.safetensors":
            store.log_file(run_id, file, f"checkpoint/{name}/{file.name}")


def _protocol(spec: Experiment) -> str:
    views, data = spec.data.views, spec.data
    return f"{data.frames} frames of {data.size}, {data.sampling.kind}, {views.crops} crops x {views.clips} clips"
