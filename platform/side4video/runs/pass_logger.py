"""Logs an endless pass: opens the run of an arm when it joins, and closes it when it leaves."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from side4video.arm_search.records import ArmRecord, arm_from_json, first_epoch_of
from side4video.core.errors import Side4VideoError
from side4video.engine.epoch_callback import Report
from side4video.planning.packs import Planner, cached_planner
from side4video.spec.arm import Arm, swept_values
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment
from side4video.tracking.pack_logger import PackLogger, open_pack_logger
from side4video.tracking.run_store import RunStore, artifact_text
from side4video.tracking.sweep_logger import SweepLogger, is_finished
from side4video.tracking.tags import DIGEST_TAG, PACK_TAG, STATE_TAG

log = logging.getLogger(__name__)

SEATS_FILE = "seats.json"
"""Artifact of a sweep's run: all arms of its passes, who sat where and when, and their values."""
MAX_TIMES = 50
"""Newest reports whose time is kept, for the rate and the time left."""


@dataclass
class PassLogger:
    """The runs of the arms of one pass. It is picklable: on Ray another process logs the epochs."""

    sweep_logger: SweepLogger
    fingerprint: str
    classes: int
    folder: str
    """Of the pass's checkpoints."""
    others: tuple[Arm, ...] = ()
    """Further arms of the sweep, so that the swept fields are those of all."""
    clips_per_epoch: int = 0
    _times: list[dict[str, float]] = field(default_factory=list)
    """When each epoch of the pass ended, in this process."""
    _loggers: dict[str, PackLogger] = field(default_factory=dict)
    _passes: dict[str, Any] | None = None
    """What other passes of the sweep have written; they do not run at the same time."""

    @property
    def pass_id(self) -> str:
        """Last part of the folder's name."""
        return self.folder.rpartition("/")[2]

    @cached_property
    def _planner(self) -> Planner:
        return cached_planner(self.classes)

    def __getstate__(self) -> dict[str, Any]:
        """Without the planner, which is made where it is needed."""
        return {key: value for key, value in self.__dict__.items() if key != "_planner"}

    def take(self, report: Report, checkpoint: Path | None) -> None:
        """Log what a pass reports; `checkpoint` is the folder in which its checkpoint was stored."""
        changes = report.changes
        records = {each["name"]: ArmRecord.from_json(each) for each in changes.get("arms", {}).get("records", ())}
        for name in changes.get("joined", ()):
            self._open(records[name], records)
        for name, series in report.metrics.items():
            if series and (logger := self._logger_of(name, records)):
                logger.log({name: series}, report.notes)
        for name in changes.get("paused", ()):
            if logger := self._logger_of(name, records):
                logger.set_tag(STATE_TAG, "paused")
        for name, result in changes.get("ended", {}).items():
            self._close(name, result, records, checkpoint)
        if records:
            self._write_seats(changes)

    def hand_over(self) -> None:
        """Deliver what was written."""
        self.sweep_logger.store.flush()

    def fail_open(self, reason: str, *, killed: bool) -> None:
        """Log that the pass ended and its arms have no result. On Ray another process has opened their runs."""
        for logger in self._loggers.values():
            logger.fail(reason, killed=killed)
        store = self.sweep_logger.store
        try:
            for run in self.sweep_logger.children().values():
                if run.status == "RUNNING" and run.tags.get(PACK_TAG) == self.pass_id:
                    PackLogger(store, {run.name: run.run_id}).fail(reason, killed=killed)
        except (Side4VideoError, OSError) as error:
            log.warning("the end of the arms' runs could not be recorded; the same command continues them (%s)", error)

    def _logger_of(self, name: str, records: Mapping[str, ArmRecord]) -> PackLogger | None:
        if name not in self._loggers and name in records:
            self._open(records[name], records)
        return self._loggers.get(name)

    def _open(self, record: ArmRecord, records: Mapping[str, ArmRecord]) -> None:
        """Start the run of an arm, or continue it."""
        arm = arm_from_json(record.arm)
        spec = joined_experiment(arm.experiment, record)
        known = self._loggers.get(record.name)
        if known is not None:  # it was paused: its document now has one more first epoch
            for run_id in known.run_ids.values():
                known.store.log_json(run_id, spec.resolved(), "spec.json")
                known.store.set_tags(run_id, {STATE_TAG: "training", DIGEST_TAG: spec.digest()})
            return
        # Only this arm's document is parsed and resolved: there may be a thousand others.
        among = [row.overrides for other in self.others for row in other.rows]
        among += [row["overrides"] for each in records.values() for row in (each.arm, *each.arm["duplicates"])]
        (swept,) = swept_values([arm], among=among)
        info = self.sweep_logger.arm_run_info(arm, swept=swept, pack=self.pass_id, predicted={})
        self._loggers[record.name] = open_pack_logger(
            {record.name: spec},
            plans={record.name: self._planner(spec).as_json()},
            fingerprint=self.fingerprint,
            checkpoint_folder=self.folder,
            resume=True,
            arm_runs={record.name: replace(info, joins_a_pass=True)},
        )

    def _close(
        self, name: str, result: Mapping[str, Any], records: Mapping[str, ArmRecord], checkpoint: Path | None
    ) -> None:
        """Store the result of an arm that left. After a restart it may be stored already."""
        arm = arm_from_json(records[name].arm)
        if name not in self._loggers:
            stored = self.sweep_logger.children().get(arm.key)
            if stored is not None and is_finished(stored):
                return
        logger = self._logger_of(name, records)
        if logger is None:
            return
        first = joined_experiment(arm.experiment, records[name]).resolved()
        for run_id in logger.run_ids.values():
            logger.store.log_params(run_id, {"data": {"first_epoch": first["data"]["first_epoch"]}})
        if result["state"] == "failed":
            logger.fail(result.get("reason") or "it failed")
        else:
            logger.close(name, result, checkpoint)
        del self._loggers[name]

    def _write_seats(self, changes: Mapping[str, Any]) -> None:
        """Write who sits where, beside what other passes of the sweep have written."""
        store, parent = self.sweep_logger.store, self.sweep_logger.parent
        if self._passes is None:
            self._passes = read_seats(store, parent)
        if not self._times or changes["epoch"] > self._times[-1]["epoch"]:
            self._times.append({"epoch": changes["epoch"], "at": time.time()})
        state = {**changes["arms"], "epochs_left": changes["epochs_left"], "times": self._times[-MAX_TIMES:]}
        state["clips_per_epoch"] = self.clips_per_epoch
        store.log_json(parent, {**self._passes, self.pass_id: state}, SEATS_FILE)


def read_seats(store: RunStore, parent: str) -> dict[str, Any]:
    """The states of a sweep's passes, by the name of their folder; empty if it has none."""
    return dict(json.loads(artifact_text(store, parent, SEATS_FILE, default="{}")))


def joined_experiment(experiment: Experiment, record: ArmRecord) -> Experiment:
    """The experiment that an arm was in truth: with the epochs of the pass that it saw."""
    first = first_epoch_of(record)
    if not first:
        return experiment
    document = experiment.resolved()
    document["data"]["first_epoch"] = first if isinstance(first, int) else list(first)
    return parse_experiment(document, source=record.name)
