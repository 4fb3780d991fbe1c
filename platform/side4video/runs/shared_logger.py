"""Logs a pass that several sweeps share: the arms of each into its own MLflow experiment, below its own run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from side4video.arm_search.document import SearchDocument
from side4video.arm_search.shared_search import member_prefix
from side4video.engine.epoch_callback import Report
from side4video.runs.pass_logger import PassLogger
from side4video.tracking.run_store import RunStore, artifact_text
from side4video.tracking.stores import open_store
from side4video.tracking.sweep_logger import SweepLogger

MEMBER_FILE = "member.json"
"""Artifact of the run of a sweep that asks for seats of a shared pass."""


@dataclass
class SharedPassLogger:
    """The logs of the sweeps of one pass. It is picklable: on Ray another process logs the epochs."""

    store: RunStore
    member: str
    """Id of the run of the sweep whose command runs the pass."""
    folder: str
    """Of the pass's checkpoints."""
    classes: int
    _loggers: dict[str, PassLogger] = field(default_factory=dict)

    def take(self, report: Report, checkpoint: Path | None) -> None:
        """See `PassLogger`: each sweep gets what is its own."""
        state = report.changes.get("arms", {})
        members = state.get("members", {})
        seats = {each["name"]: seats_taken(each["search"]) for each in members.values()}
        for member, each in members.items():
            others = {name: count for name, count in seats.items() if name != each["name"] and count}
            self._logger_of(member).take(_part(report, member, each, others), checkpoint)

    def hand_over(self) -> None:
        """Deliver what was written."""
        for logger in self._loggers.values():
            logger.hand_over()

    def fail_open(self, reason: str, *, killed: bool) -> None:
        """The pass ends here, without a result of the arms of the sweep that ran it. Other sweeps go on with it."""
        self._logger_of(self.member).fail_open(reason, killed=killed)

    def _logger_of(self, member: str) -> PassLogger:
        if member not in self._loggers:
            told = json.loads(artifact_text(self.store, member, MEMBER_FILE))
            document = SearchDocument(**told["document"])
            store = open_store(document.built.base_experiment.tracking).prepare()
            self._loggers[member] = PassLogger(
                SweepLogger(store, member, told["key"]),
                told["fingerprint"],
                document.classes,
                self.folder,
                others=tuple(document.waiting),
                clips_per_epoch=told["clips"],
            )
        return self._loggers[member]


def seats_taken(search: Mapping[str, Any]) -> int:
    """Arms in seats, in the state of a search."""
    return sum(each["state"] == "training" for each in search["records"])


def _part(report: Report, member: str, state: Mapping[str, Any], others: Mapping[str, int]) -> Report:
    """What a report says of one sweep."""
    start, changes = member_prefix(member), report.changes
    own = {
        **changes,
        "joined": [name for name in changes["joined"] if name.startswith(start)],
        "paused": [name for name in changes["paused"] if name.startswith(start)],
        "ended": {name: each for name, each in changes["ended"].items() if name.startswith(start)},
        "arms": {**state["search"], "others": dict(others)},
        "epochs_left": state["epochs_left"],
    }
    metrics = {name: each for name, each in report.metrics.items() if name.startswith(start)}
    return replace(report, metrics=metrics, latest={}, changes=own)
