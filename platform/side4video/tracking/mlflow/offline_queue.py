"""What could not be delivered, in order, in a file until the store answers again.

A tracking server that is away must not stop training. A write that fails is appended to
`$SIDE4VIDEO_HOME/outbox/<run id>.jsonl`, and so is every later write of that run, so that their order stays.
Delivery removes what was accepted; a crash between the two delivers a record twice, which is harmless because
each kind of record may be applied again without effect.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from side4video.core.metric import from_json, to_json
from side4video.core.paths import home
from side4video.tracking.mlflow.connection import OutageError, TrackingError

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""One write: `{"metrics": list[Metric]}`, `{"params": …}`, `{"tags": …}`, `{"status": …}` or `{"artifact": …}`."""


class OfflineQueue:
    """The undelivered records of one run of one store."""

    def __init__(self, run_id: str, store: str) -> None:
        """Of a run, in the store with this id (`connection.store_id`); nothing is written yet."""
        folder = home() / "outbox"
        folder.mkdir(parents=True, exist_ok=True)
        self.run_id, self.store = run_id, store
        self.file = folder / f"{run_id}.jsonl"
        self._attachments = folder / f"{run_id}.files"
        self._rejected = folder / f"{run_id}.rejected.jsonl"

    @classmethod
    def waiting(cls, store: str) -> Iterator["OfflineQueue"]:
        """Every run that has something to deliver to this store."""
        for file in sorted((home() / "outbox").glob("*.jsonl")):
            queue = cls(file.name.removesuffix(".jsonl"), store)
            if not queue.run_id.endswith(".rejected") and any(entry["store"] == store for entry in queue._entries()):
                yield queue

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.file.exists()

    def append(self, record: Record) -> None:
        """Keep one record, on disk when this returns; an artifact is copied, because its file may change or go."""
        with self._lock():
            if "artifact" in record:
                copy = self._attach(Path(record["artifact"]), name=Path(record["name"]).name)
                record = {**record, "artifact": str(copy)}
            torn = self.file.exists() and not self.file.read_bytes().endswith(b"\n")
            with self.file.open("a", encoding="utf-8") as stream:
                # A process that died while writing leaves half a line: it must not swallow the next one.
                stream.write(("\n" if torn else "") + self._line(record))
                stream.flush()
                os.fsync(stream.fileno())

    def records(self) -> list[Record]:
        """What waits, oldest first."""
        return [_decoded(entry["record"]) for entry in self._entries()]

    def deliver(self, apply: Callable[[Record], None]) -> int:
        """Apply the records in order until none is left or there is an outage; how many are left.

        A record that the store refuses for good is set aside in `<run id>.rejected.jsonl`: it must not hold up
        those behind it.

        Args:
            apply: gives one record to the store; raises `OutageError` or `TrackingError`.
        """
        with self._lock():
            left = self.records()
            try:
                while left:
                    self._apply_or_reject(left[0], apply)
                    left.pop(0)
            except OutageError as error:
                log.debug("%d records of run %s wait on: %s", len(left), self.run_id, error)
            finally:
                self._replace(left)
            if not left:
                shutil.rmtree(self._attachments, ignore_errors=True)
            return len(left)

    def _apply_or_reject(self, record: Record, apply: Callable[[Record], None]) -> None:
        try:
            apply(record)
        except OutageError:
            raise
        except TrackingError as error:
            log.warning(
                "the tracking store refused what had waited for it; it is kept in %s: %s", self._rejected, error
            )
            with self._rejected.open("a", encoding="utf-8") as stream:
                stream.write(self._line({**record, "refused": str(error)}))

    def _entries(self) -> list[dict[str, Any]]:
        lines = self.file.read_text(encoding="utf-8").split("\n") if self.file.exists() else []
        return [entry for entry in map(_parse, lines) if entry]

    def _attach(self, path: Path, *, name: str) -> Path:
        copy = self._attachments / uuid.uuid4().hex / name
        copy.parent.mkdir(parents=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copyfile(path, copy)
        return copy

    def _replace(self, records: list[Record]) -> None:
        if not records:
            self.file.unlink(missing_ok=True)
            return
        draft = self.file.with_suffix(".draft")
        draft.write_text("".join(map(self._line, records)), encoding="utf-8")
        draft.replace(self.file)

    def _line(self, record: Record) -> str:
        return json.dumps({"store": self.store, "record": _encoded(record)}, ensure_ascii=False) + "\n"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with FileLock(self.file.with_suffix(".lock")):
            yield


def _encoded(record: Record) -> Record:
    return {**record, "metrics": to_json(record["metrics"])} if "metrics" in record else record


def _decoded(record: Record) -> Record:
    return {**record, "metrics": from_json(record["metrics"])} if "metrics" in record else record


def _parse(line: str) -> dict[str, Any]:
    """One entry; nothing for the half of a line that a process left when it died."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}
