"""Logs a sweep: one run for the sweep, and below it one for each arm.

If a sweep is started again, it continues these runs. They tell which arms are done, and where the checkpoints of the
others are.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.core.temporary import temporary_folder
from side4video.spec.arm import Arm, Sweep, swept_values
from side4video.tracking.description import (
    SMALL_FIGURES,
    current_command,
    reused_description,
    small_figure,
    sweep_description,
)
from side4video.tracking.environment import describe
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG
from side4video.tracking.mlflow.connection import ServerUnavailableError
from side4video.tracking.pack_logger import RESULT_FILES, ArmRunInfo
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.stores import open_store
from side4video.tracking.tags import (
    ARM_TAG,
    CHECKPOINTS_TAG,
    DIGEST_TAG,
    ENDED_STATES,
    PACK_TAG,
    REUSED_TAG,
    ROWS_TAG,
    RUN_KIND_TAG,
    STATE_TAG,
    SWEEP_KIND,
    SWEEP_TAG,
)

log = logging.getLogger(__name__)

COPIED = (*(name for name in RESULT_FILES if name != "scores.npz"), "spec.json", "plan.json")
"""Artifacts that are copied with a result."""
COMPARISON = "comparison.md"
"""The sweep's artifact with the report's table."""
CURVES = ("eval/", "val/")
"""Metrics with these prefixes are copied with their history, others with the last value."""


@dataclass(frozen=True)
class SweepLogger:
    """The runs of a sweep in the store."""

    store: RunStore
    parent: str
    key: str
    """Identifies the sweep."""

    def children(self) -> dict[str, StoredRun]:
        """The newest run of each arm, by the arm's key."""
        return children_of(self.store, self.key)

    def arm_run_info(
        self, arm: Arm, *, swept: Mapping[str, Any], pack: str, predicted: Mapping[str, float]
    ) -> ArmRunInfo:
        """How an arm's run belongs to this sweep.

        `swept` has the arm's values of the swept fields, `predicted` predicted metrics of the pack.
        """
        return ArmRunInfo(
            parent=self.parent,
            key=f"{self.key}/{arm.key}",
            name=arm.title,
            tags={
                ARM_TAG: arm.key,
                SWEEP_TAG: self.key,
                PACK_TAG: pack,
                ROWS_TAG: " | ".join(row.row_name for row in arm.rows),
            },
            params={f"arm/{name}": value for name, value in {**swept, "seed": arm.seed}.items()},
            predicted=predicted,
        )

    def copy_result(self, arm: Arm, source: StoredRun, swept: Mapping[str, Any]) -> None:
        """Copy the result of another run into a run of this sweep, with metrics and predictions.

        Evaluations are copied for all epochs, because schedulers and Optuna need them when the sweep is resumed.
        """
        arm_run = self.arm_run_info(arm, swept=swept, pack="", predicted={})
        source_tags = {name: value for name, value in source.tags.items() if not name.startswith("mlflow.")}
        tags = {**source_tags, **arm_run.tags, REUSED_TAG: source.run_id}
        run_id = self.store.start_run(
            name=arm_run.name,
            key=arm_run.key,
            tags=tags,
            params={**arm_run.params, **arm.experiment.resolved()},
            parent=self.parent,
        )
        metrics = [Metric.now(name, value, 0) for name, value in source.metrics.items() if not name.startswith(CURVES)]
        for name in (name for name in source.metrics if name.startswith(CURVES)):
            metrics += self.store.history(source.run_id, name)
        self.store.log(run_id, metrics)
        note = reused_description(source.tags.get(DESCRIPTION_TAG, ""), source.run_id, source.experiment_id)
        self.store.set_tags(run_id, {DESCRIPTION_TAG: note})
        with temporary_folder() as folder:
            for name in COPIED:
                try:
                    self.store.log_file(run_id, self.store.download(source.run_id, name, folder), name)
                except InputError:
                    continue  # an older run may lack one
        self.store.finish(run_id)

    def close(
        self,
        *,
        is_complete: bool,
        artifacts: Sequence[Path],
        figures: Mapping[str, float],
        metric: str = "",
        best: Mapping[str, float] | None = None,
    ) -> None:
        """Log the sweep's result and artifacts. With a metric, also write its description.

        `figures` are of the sweep, `best` are the metrics of its best arm; both become metrics of its run.
        """
        for artifact in artifacts:
            self.store.log_file(self.parent, artifact)
        if metric:
            self._describe(artifacts, metric)
        self._log_metrics({f"sweep/{name}": value for name, value in figures.items()} | dict(best or {}))
        self.store.set_tags(self.parent, {name: f"{value:.6g}" for name, value in figures.items()})
        self.store.set_tags(self.parent, {STATE_TAG: "finished" if is_complete else "incomplete"})
        self.store.finish(self.parent, "FINISHED" if is_complete else "FAILED")

    def _log_metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics of the sweep's run; when the sweep is continued, its new values are the next step's."""
        try:
            step = len(self.store.history(self.parent, next(iter(values)))) if values else 0
        except ServerUnavailableError as error:
            log.warning("the metrics of sweep %s are those of a first call: %s", self.key, error)
            step = 0
        self.store.log(self.parent, [Metric.now(name, value, step) for name, value in values.items()])

    def _describe(self, artifacts: Sequence[Path], metric: str) -> None:
        comparison = next((each.read_text(encoding="utf-8") for each in artifacts if each.name == COMPARISON), "")
        try:
            runs = self.children().values()
            metrics = self.store.save_sweep_view(self.key, list(runs), metric=metric)
        except ServerUnavailableError as error:
            log.warning("the sweep %s is not described: %s", self.key, error)
            return
        with temporary_folder() as folder:
            for figure in (each for each in artifacts if each.suffix == ".png"):
                self.store.log_file(self.parent, small_figure(figure, folder), f"{SMALL_FIGURES}/{figure.name}")
        note = sweep_description(
            comparison,
            run_id=self.parent,
            experiment_id=self.store.experiment_id,
            arms=[run.run_id for run in runs],
            metrics=metrics,
            view=self.key,
            command=current_command(),
        )
        self.store.set_tags(self.parent, {DESCRIPTION_TAG: note})

    def interrupt(self) -> None:
        """Log that the sweep was interrupted."""
        self.store.set_tags(self.parent, {STATE_TAG: "interrupted"})
        self.store.finish(self.parent, "KILLED")


def children_of(store: RunStore, key: str) -> dict[str, StoredRun]:
    """The newest run of each arm of a sweep, by the arm's key; empty if the sweep was never started."""
    runs: dict[str, StoredRun] = {}
    for run in store.runs(tags={SWEEP_TAG: key}, with_tags=(DIGEST_TAG,)):
        runs.setdefault(run.tags.get(ARM_TAG) or run.tags[DIGEST_TAG], run)
    return runs


def open_sweep_logger(sweep: Sweep, *, key: str, plan: Mapping[str, Any]) -> SweepLogger:
    """Start or continue the sweep's run.

    `key` identifies the sweep; `plan` is its plan, as JSON values.
    """
    store = open_store(sweep.base_experiment.tracking).prepare()
    parent = store.start_run(
        name=sweep.spec.name,
        key=f"sweep/{key}",
        tags={SWEEP_TAG: key, RUN_KIND_TAG: SWEEP_KIND, STATE_TAG: "running", **describe()},
        params={"sweep": sweep.spec.model_dump(mode="json", exclude={"base", "tables", "packing", "limits"})},
        reopen_finished=True,
    )
    document = {"sweep": sweep.spec.model_dump(mode="json", exclude={"base"}), "base": dict(sweep.base)}
    store.log_json(parent, document, "sweep.json")
    store.log_json(parent, dict(plan), "plan.json")
    return SweepLogger(store, parent, key)


def is_finished(run: StoredRun, *, states: Collection[str] = ENDED_STATES) -> bool:
    """Whether an arm's run is complete. Its status is checked too, because the state is set before the last files."""
    return run.status != "RUNNING" and run.tags.get(STATE_TAG) in states


def unfinished_folders(
    children: Mapping[str, StoredRun], missing: Collection[str], *, states: Collection[str] = ENDED_STATES
) -> dict[str, list[str]]:
    """Checkpoint folders of unfinished arms, with the keys of their arms."""
    folders: dict[str, list[str]] = {}
    for key in missing:
        run = children.get(key)
        if run is None or is_finished(run, states=states) or REUSED_TAG in run.tags:
            continue
        if CHECKPOINTS_TAG in run.tags:
            folders.setdefault(run.tags[CHECKPOINTS_TAG], []).append(key)
    return folders


def swept_by_arm(arms: Sequence[Arm], fixed: Sequence[Arm] = ()) -> dict[str, dict[str, Any]]:
    """Values of the swept fields, by the arm's key; all arms have the same fields."""
    among = [row.overrides for arm in (*fixed, *arms) for row in arm.rows]
    return dict(zip((arm.key for arm in arms), swept_values(arms, among=among), strict=True))
