"""Writes to MLflow in order, and queues writes during an outage.

A write is a record: a mapping with one of the keys `metrics`, `params`, `tags`, `artifact` or `status`. Records are
idempotent. So after a crash, or if the response of a request is lost, the record is applied again: it has the same
timestamps, and MLflow stores it once.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.core.temporary import temporary_folder
from side4video.spec.tracking import sqlite_path
from side4video.tracking.mlflow import connection
from side4video.tracking.mlflow.connection import ServerUnavailableError, translate_errors
from side4video.tracking.mlflow.local_artifacts import run_folder, write_artifact
from side4video.tracking.mlflow.offline_queue import OfflineQueue, Record
from side4video.tracking.mlflow.parameters import cut
from side4video.tracking.mlflow.reserved_space import release_space
from side4video.tracking.redaction import redact_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

PROBE_EVERY_SECONDS = 5.0
"""Minimum time between checks whether a store is back."""


class Writer:
    """Writes of one process to one store."""

    def __init__(self, uri: str) -> None:
        """The client is created on first use."""
        self.uri = uri
        self._stored_steps: dict[str, dict[str, set[int] | None]] = {}
        self._is_away = False
        self.probe_seconds = PROBE_EVERY_SECONDS
        self._next_probe = 0.0

    @cached_property
    def client(self) -> "MlflowClient":
        """The MLflow client."""
        return connection.connect(self.uri)

    def forget(self, run_id: str) -> None:
        """Clear the cache of stored metrics of a run."""
        self._stored_steps.pop(run_id, None)

    def flush(self, run_id: str = "") -> int:
        """Deliver queued records of one run or of all; returns the number of those left."""
        store = connection.store_id(self.uri)
        waiting = [OfflineQueue(run_id, store)] if run_id else list(OfflineQueue.waiting(store))
        return sum(self._deliver(queue) for queue in waiting)

    def deliver_waiting(self) -> None:
        """Deliver what a process left that was killed or stopped during an outage. Where nothing can, it stays."""
        store = connection.store_id(self.uri)
        try:
            for queue in list(OfflineQueue.waiting(store)):
                count = len(queue.records())
                if (left := self._deliver(queue)) < count:
                    log.warning("run %s: %d waiting writes were delivered", queue.run_id[:8], count - left)
        except (OSError, InputError) as error:
            log.info("waiting writes stay queued: %s", error)

    def write(self, run_id: str, record: Record) -> None:
        """Apply a record, after those of its run that are queued; queue it during an outage.

        Raises:
            TrackingError: If the store refuses it.
        """
        queue = OfflineQueue(run_id, connection.store_id(self.uri))
        if "status" in record and (database := sqlite_path(self.uri)):
            release_space(Path(database))
            self._is_away = False  # a full disk has room now
        may_try = self._may_try()
        if may_try and queue.is_empty():
            try:
                self._apply(run_id, record)
                return
            except ServerUnavailableError as error:
                may_try = False
                self._start_offline()
                warning_args = (redact_text(self.uri), queue.file.parent, error)
                log.warning("the tracking store %s is not reachable; writes are queued in %s (%s)", *warning_args)
        queue.append(record)
        if may_try and self._deliver(queue) == 0:
            self.flush()  # the store is back: also deliver those of other runs

    def _may_try(self) -> bool:
        """Whether to try the store. During an outage, it is checked at most every `probe_seconds`."""
        if not self._is_away:
            return True
        if time.monotonic() < self._next_probe:
            return False
        self._next_probe = time.monotonic() + self.probe_seconds
        self._is_away = not connection.is_reachable(self.uri)
        return not self._is_away

    def _start_offline(self) -> None:
        self._is_away = True
        self._next_probe = time.monotonic() + self.probe_seconds

    def _deliver(self, queue: OfflineQueue) -> int:
        left = queue.deliver(lambda record: self._apply(queue.run_id, record))
        if left:
            self._start_offline()
        return left

    @translate_errors
    def _apply(self, run_id: str, record: Record) -> None:
        """Apply one record."""
        methods: dict[str, Callable[[str, Record], None]] = {
            "metrics": self._apply_metrics,
            "params": self._apply_params,
            "tags": self._apply_tags,
            "artifact": self._apply_artifact,
            "status": self._apply_status,
        }
        next(apply for kind, apply in methods.items() if kind in record)(run_id, record)

    def _apply_metrics(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Metric as Entity

        new = self._without_stored(run_id, record["metrics"])
        if new:
            entities = [Entity(m.key, m.value, m.timestamp_ms, m.step) for m in new]
            self.client.log_batch(run_id, metrics=entities)
        for metric in new:
            steps = self._stored_steps[run_id].setdefault(metric.key, set())
            if steps is not None:
                steps.add(metric.step)

    def _apply_params(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Param

        stored = self.client.get_run(run_id).data.params
        new = {name: value for name, value in record["params"].items() if name not in stored}
        for name in record["params"].keys() - new.keys():
            if stored[name] != record["params"][name]:
                log.warning("run %s: parameter %s keeps its first value, %s", run_id, name, cut(stored[name], 80))
        self.client.log_batch(run_id, params=[Param(name, value) for name, value in new.items()])

    def _apply_tags(self, run_id: str, record: Record) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in record["tags"].items()])

    def _apply_status(self, run_id: str, record: Record) -> None:
        self.client.set_terminated(run_id, record["status"], record["end_ms"])

    def local_folder(self, run_id: str) -> Path | None:
        """The folder of a run's artifacts, if this process can write it without a server."""
        if connection.is_server(self.uri):
            return None
        address = str(self.client.get_run(run_id).info.artifact_uri)
        return run_folder(address, connection.artifact_folder(self.uri))

    def _apply_artifact(self, run_id: str, record: Record) -> None:
        source, name = Path(record["artifact"]), Path(record["name"])
        if (folder := self.local_folder(run_id)) is not None:
            write_artifact(source, folder / name)
            return
        if source.is_dir():
            self.client.log_artifacts(run_id, str(source), str(name))
            return
        above = None if name.parent == Path() else str(name.parent)
        if source.name == name.name:
            self.client.log_artifact(run_id, str(source), above)
            return
        with temporary_folder() as scratch:  # MLflow uses the file's name, so rename a copy
            renamed = scratch / name.name
            shutil.copyfile(source, renamed)
            self.client.log_artifact(run_id, str(renamed), above)

    def _without_stored(self, run_id: str, metrics: Iterable[Metric]) -> list[Metric]:
        """Metrics whose key and step are not stored, without duplicates."""
        if run_id not in self._stored_steps:
            # Only names now; a metric's history is read when it is logged again.
            self._stored_steps[run_id] = dict.fromkeys(self.client.get_run(run_id).data.metrics)
        known = self._stored_steps[run_id]
        new: dict[tuple[str, int], Metric] = {}
        for metric in metrics:
            if known.setdefault(metric.key, set()) is None:
                known[metric.key] = {m.step for m in self.client.get_metric_history(run_id, metric.key)}
            if metric.step not in (known[metric.key] or ()):
                new.setdefault((metric.key, metric.step), metric)
        return list(new.values())
