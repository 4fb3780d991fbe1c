"""A queue of writes on disk, for outages of the MLflow store.

An outage must not stop training. A failed write is appended to `$SIDE4VIDEO_HOME/outbox/<run id>.jsonl`, and so are all
later writes of that run, to keep their order. Delivered records are removed. After a crash a record may be delivered
twice, which has no effect because records are idempotent.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.files import write_atomically
from side4video.core.metric import from_json, to_json
from side4video.core.paths import home, home_path
from side4video.tracking.mlflow.connection import ServerUnavailableError, TrackingError

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""One write: `{"metrics": list[Metric]}`, `{"params": …}`, `{"tags": …}`, `{"status": …}` or `{"artifact": …}`."""


class OfflineQueue:
    """The queued records of one run of one store."""

    def __init__(self, run_id: str, store: str) -> None:
        """`store` is the id of the store (`connection.store_id`). Nothing is written yet."""
        folder = home() / "outbox"
        folder.mkdir(parents=True, exist_ok=True)
        self.run_id, self.store = run_id, store
        self.file = folder / f"{run_id}.jsonl"
        self._attachments = folder / f"{run_id}.files"
        self._rejected = folder / f"{run_id}.rejected.jsonl"

    @classmethod
    def waiting(cls, store: str) -> Iterator["OfflineQueue"]:
        """The queues with records for this store."""
        for file in sorted((home_path() / "outbox").glob("*.jsonl")):
            queue = cls(file.name.removesuffix(".jsonl"), store)
            if not queue.run_id.endswith(".rejected") and any(entry["store"] == store for entry in queue._entries()):
                yield queue

    def is_empty(self) -> bool:
        """Whether no record is queued."""
        return not self.file.exists()

    def append(self, record: Record) -> None:
        """Append a record and sync it to disk. The file of an artifact is copied, because it may change.

        Raises:
            InputError: The disk is full or cannot be written.
        """
        with explaining_disk_errors(self.file.parent), self._lock():
            if "artifact" in record:
                copy = self._attach(Path(record["artifact"]), name=Path(record["name"]).name)
                record = {**record, "artifact": str(copy)}
            size = self.file.stat().st_size if self.file.exists() else 0
            torn = size > 0 and not self.file.read_bytes().endswith(b"\n")
            # A killed process may leave an incomplete line: end it before the next one.
            line = ("\n" if torn else "") + self._line(record)
            try:
                with self.file.open("ab") as stream:
                    stream.write(line.encode())
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError:
                self._shorten(size)
                raise

    def _shorten(self, size: int) -> None:
        """Take back a line that a full disk cut short."""
        with suppress(OSError):
            if size:
                os.truncate(self.file, size)
            else:
                self.file.unlink(missing_ok=True)

    def records(self) -> list[Record]:
        """The queued records, oldest first."""
        return [_decoded(entry["record"]) for entry in self._entries()]

    def deliver(self, apply: Callable[[Record], None]) -> int:
        """Apply the records in order until none is left or there is an outage; returns the number of those left.

        Records that the store refuses are moved to `<run id>.rejected.jsonl`, so that they do not block others. `apply`
        applies one record; it raises `ServerUnavailableError` or `TrackingError`.
        """
        with self._lock():
            left = self.records()
            try:
                while left:
                    self._apply_or_reject(left[0], apply)
                    left.pop(0)
            except ServerUnavailableError as error:
                log.debug("%d records of run %s stay queued: %s", len(left), self.run_id, error)
            finally:
                self._replace(left)
            if not left:
                shutil.rmtree(self._attachments, ignore_errors=True)
            return len(left)

    def _apply_or_reject(self, record: Record, apply: Callable[[Record], None]) -> None:
        try:
            apply(record)
        except ServerUnavailableError:
            raise
        except TrackingError as error:
            log.warning("the tracking store refused a queued record; it is kept in %s: %s", self._rejected, error)
            with self._rejected.open("a", encoding="utf-8") as stream:
                stream.write(self._line({**record, "refused": str(error)}))

    def _entries(self) -> list[dict[str, Any]]:
        lines = self.file.read_text(encoding="utf-8").split("\n") if self.file.exists() else []
        return [entry for entry in map(_parse, lines) if entry]

    def _attach(self, path: Path, *, name: str) -> Path:
        copy = self._attachments / uuid.uuid4().hex / name
        try:
            copy.parent.mkdir(parents=True)
            shutil.copytree(path, copy) if path.is_dir() else shutil.copyfile(path, copy)
        except BaseException:
            shutil.rmtree(copy.parent, ignore_errors=True)
            raise
        return copy

    def _replace(self, records: list[Record]) -> None:
        if not records:
            self.file.unlink(missing_ok=True)
            return
        write_atomically(self.file, "".join(map(self._line, records)))

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
    """One entry; empty for an incomplete line of a killed process."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}
