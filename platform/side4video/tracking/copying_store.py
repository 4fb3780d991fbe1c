"""A run store whose writes also go to the places of `tracking.also`.

The store stays the record: it gets every write first, and a place that fails is left alone with a note in the run.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from side4video.core.dotted import dotted
from side4video.core.errors import Side4VideoError
from side4video.core.metric import Metric
from side4video.spec.tracking import Sink as SinkSpec
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG, PARENT_TAG
from side4video.tracking.redaction import redact
from side4video.tracking.run_store import RunStore, Status, StoredRun
from side4video.tracking.sinks import open_sinks
from side4video.tracking.sinks.guard import FAILURE_PREFIX, Action, Guard
from side4video.tracking.sinks.sink import RunEnd, RunHeader
from side4video.tracking.tags import NOTES_TAG

log = logging.getLogger(__name__)


class CopyingStore:
    """A store and its copies (`tracking.run_store.RunStore`). Reading is the store's.

    It is cheap to create and to pickle: a place is opened for a run at the run's first write in this process. Tags and
    names of artifacts are collected, and written when the run ends.
    """

    def __init__(self, store: RunStore, specs: Sequence[SinkSpec], guards: Sequence[Guard] | None = None) -> None:
        """`guards` are the opened places, if they are not those of `specs`."""
        self.store, self.specs = store, tuple(specs)
        self.uri, self.experiment = store.uri, store.experiment
        self._guards = list(open_sinks(specs) if guards is None else guards)
        self._open: set[str] = set()
        """Runs that are open in all places that work."""
        self._tags: dict[str, dict[str, str]] = {}
        self._artifacts: dict[str, list[str]] = {}
        self._noted: dict[str, list[str]] = {}
        """Failures that are in a run's notes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.store, self.specs))

    def __copy__(self) -> Self:
        return type(self)(copy.copy(self.store), self.specs)  # for another thread: with a client of its own

    # ---- writing

    def prepare(self) -> Self:
        """See `RunStore`."""
        self.store.prepare()
        return self

    def start_run(
        self,
        *,
        name: str,
        key: str,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        parent: str | None = None,
        resume: bool = True,
        reopen_finished: bool = False,
    ) -> str:
        """See `RunLogger`."""
        run_id = self.store.start_run(
            name=name,
            key=key,
            tags=tags,
            params=params,
            parent=parent,
            resume=resume,
            reopen_finished=reopen_finished,
        )
        self._tags[run_id] = dict(redact(tags or {}))
        self._open.discard(run_id)
        self._write(run_id)
        return run_id

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """See `RunLogger`."""
        metrics = list(metrics)
        is_open = self._is_open(run_id)  # opening copies what the store has: do it before there is more
        self.store.log(run_id, metrics)
        if is_open:
            self._write(run_id, lambda sink: sink.log(run_id, metrics))

    def log_params(self, run_id: str, document: Mapping[str, Any]) -> None:
        """See `RunLogger`."""
        self.store.log_params(run_id, document)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """See `RunLogger`. Notes about failures of places stay."""
        tags = dict(tags)
        if NOTES_TAG in tags:
            tags[NOTES_TAG] = "\n".join([tags[NOTES_TAG], *self.failures(run_id)]).strip("\n")
        self.store.set_tags(run_id, tags)
        self._tags.setdefault(run_id, {}).update(redact(tags))

    def log_json(self, run_id: str, document: Any, artifact_path: str) -> None:
        """See `RunLogger`."""
        self.store.log_json(run_id, document, artifact_path)
        self._artifacts.setdefault(run_id, []).append(artifact_path)

    def log_file(self, run_id: str, path: Path | str, artifact_path: str = "") -> None:
        """See `RunLogger`."""
        self.store.log_file(run_id, path, artifact_path)
        self._artifacts.setdefault(run_id, []).append(artifact_path or Path(path).name)

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """See `RunLogger`."""
        tags = self._tags.get(run_id, {})
        shown = {name: text for name, text in tags.items() if name != DESCRIPTION_TAG and text}
        names = sorted(set(self._artifacts.get(run_id, ())))
        end = RunEnd(status, tags.get(DESCRIPTION_TAG, ""), shown, names)
        self._write(run_id, lambda sink: sink.close(run_id, end))
        self._open.discard(run_id)
        self.store.finish(run_id, status)

    def forget(self, run_id: str) -> None:
        """See `RunLogger`."""
        self.store.forget(run_id)

    def flush(self, run_id: str = "") -> int:
        """See `RunLogger`. All places are released, so that another process can write there."""
        for guard in self._guards:
            guard.call(lambda sink: sink.release())
        self._open.clear()
        return self.store.flush(run_id)

    def failures(self, run_id: str) -> list[str]:
        """The notes about failed places, of this process and of others that wrote the run."""
        stored = ""
        with suppress(Side4VideoError):  # during an outage, those of this process are enough
            stored = self.store.get(run_id).tags.get(NOTES_TAG, "")
        earlier = [line for line in stored.split("\n") if line.startswith(FAILURE_PREFIX)]
        return list(dict.fromkeys([*earlier, *(guard.failure for guard in self._guards if guard.failure)]))

    def _write(self, run_id: str, action: Action | None = None) -> None:
        """Open a run in each place and let it do something; add a note to the run if one has failed."""
        if self._is_open(run_id) and action:
            self._call(action)
        failed = [guard.failure for guard in self._guards if guard.failure]
        if failed != self._noted.get(run_id, []):
            self._noted[run_id] = failed
            self._note_failures(run_id)

    def _is_open(self, run_id: str) -> bool:
        """Open a run in all places if it is not; returns whether any place works."""
        working = [guard for guard in self._guards if not guard.failure]
        if working and run_id not in self._open:
            try:
                header, recorded = self._stored(run_id)
            except Side4VideoError as error:
                log.warning("run %s is not copied until the store answers: %s", run_id[:8], error)
                return False
            self._open.add(run_id)
            self._call(lambda sink: sink.open(header, recorded))
        return bool(working)

    def _stored(self, run_id: str) -> tuple[RunHeader, list[Metric]]:
        """A run's header and all its metrics, from the store."""
        run = self.store.get(run_id)
        tags = {name: text for name, text in run.tags.items() if name != DESCRIPTION_TAG and text}
        self._tags[run_id] = {**tags, **self._tags.get(run_id, {})}
        header = RunHeader(run_id, run.name, run.tags.get(PARENT_TAG, ""), dotted(redact(run.params)), tags)
        return header, [each for key in run.metrics for each in self.store.history(run_id, key)]

    def _call(self, action: Action) -> None:
        for guard in self._guards:
            guard.call(action)

    def _note_failures(self, run_id: str) -> None:
        with suppress(Side4VideoError):
            stored = self.store.get(run_id).tags.get(NOTES_TAG, "")
            others = [line for line in stored.split("\n") if not line.startswith(FAILURE_PREFIX)]
            self.set_tags(run_id, {NOTES_TAG: "\n".join(others).strip("\n")})

    # ---- reading

    @property
    def experiment_id(self) -> str:
        """See `RunStore`."""
        return self.store.experiment_id

    def get(self, run_id: str) -> StoredRun:
        """See `RunStore`."""
        return self.store.get(run_id)

    def runs(
        self,
        *,
        name: str = "",
        status: str = "",
        tags: Mapping[str, str] | None = None,
        with_tags: Sequence[str] = (),
        all_experiments: bool = False,
        limit: int = 50_000,
    ) -> list[StoredRun]:
        """See `RunStore`."""
        return self.store.runs(
            name=name, status=status, tags=tags, with_tags=with_tags, all_experiments=all_experiments, limit=limit
        )

    def find(self, name_or_id: str, *, finished_first: bool = False) -> StoredRun:
        """See `RunStore`."""
        return self.store.find(name_or_id, finished_first=finished_first)

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See `RunStore`."""
        return self.store.history(run_id, key)

    def download(self, run_id: str, artifact: str, folder: Path | str) -> Path:
        """See `RunStore`."""
        return self.store.download(run_id, artifact, folder)

    def save_sweep_view(self, key: str, runs: Sequence[StoredRun], *, metric: str) -> list[str]:
        """See `RunStore`."""
        return self.store.save_sweep_view(key, runs, metric=metric)


def copy_failures(store: RunStore, run_id: str) -> list[str]:
    """The notes about places of `tracking.also` that failed for a run; empty for a store without copies."""
    return store.failures(run_id) if isinstance(store, CopyingStore) else []
