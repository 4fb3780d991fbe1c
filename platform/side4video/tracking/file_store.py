"""Stores runs as plain files, without a database: `tracking: {kind: files}`.

Each run has a folder, below the folder of its experiment:

    <folder>/<experiment>/<run id>/
        run.jsonl       everything but metrics: one JSON object per line, in the order of writing
        metrics.csv     key, step, value, timestamp_ms
        artifacts/      files

Lines are only appended, under a lock, so a killed process loses at most the line that it was writing.
"""

import csv
import json
import math
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from filelock import FileLock

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.metric import Metric
from side4video.tracking.mlflow.compat import PARENT_TAG
from side4video.tracking.mlflow.local_artifacts import names_in, write_artifact
from side4video.tracking.redaction import redact
from side4video.tracking.run_store import MIN_PREFIX, Status, StoredRun, not_found_fix
from side4video.tracking.tags import KEY_TAG

EVENTS, METRICS, ARTIFACTS = "run.jsonl", "metrics.csv", "artifacts"


class FileStore:
    """An experiment in a folder of runs (`tracking.run_store.RunStore`)."""

    def __init__(self, folder: Path | str, experiment: str = "side4video") -> None:
        self.folder, self.experiment = Path(folder).expanduser().absolute(), experiment
        self.uri = str(self.folder)
        self._stored: dict[str, set[tuple[str, int]]] = {}
        """Keys and steps of stored metrics, by run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self.folder), self.experiment))

    def prepare(self) -> Self:
        """See `RunStore`."""
        try:
            (self.folder / self.experiment).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("tracking.folder", f"{self.folder}: {error.strerror}", allowed="a folder") from error
        return self

    @property
    def experiment_id(self) -> str:
        """The experiment's name."""
        return self.experiment

    # ---- writing

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
        self.prepare()
        all_tags = {**(tags or {}), KEY_TAG: key, **({PARENT_TAG: parent} if parent else {})}
        with _locked(self.folder / self.experiment):
            known = self.runs(tags={KEY_TAG: key}) if resume else []
            run_id = next((run.run_id for run in known if reopen_finished or run.status != "FINISHED"), "")
            started = {"status": "RUNNING", "time_ms": _now()}
            if not run_id:
                run_id = uuid.uuid4().hex
                (self.folder / self.experiment / run_id / ARTIFACTS).mkdir(parents=True)
                started |= {"name": name}
            self._append(run_id, started)
        self.set_tags(run_id, all_tags)
        if params:
            self.log_params(run_id, params)
        return run_id

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """See `RunLogger`."""
        folder = self._run_folder(run_id)
        file = folder / METRICS
        with _locked(folder):
            if run_id not in self._stored:
                self._stored[run_id] = {(each.key, each.step) for each in _read_metrics(file)}
            rows = []
            for each in metrics:
                if (each.key, each.step) not in self._stored[run_id]:
                    self._stored[run_id].add((each.key, each.step))
                    rows.append([each.key, each.step, repr(each.value), each.timestamp_ms])
            if rows:
                _append_rows(file, rows)

    def log_params(self, run_id: str, document: Mapping[str, Any]) -> None:
        """See `RunLogger`."""
        known = _read_run(self._run_folder(run_id)).params
        new = {name: value for name, value in dotted(redact(document)).items() if name not in known}
        if new:
            self._append(run_id, {"params": new})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """See `RunLogger`."""
        self._append(run_id, {"tags": {name: str(value) for name, value in redact(tags).items()}})

    def log_json(self, run_id: str, document: Any, artifact_path: str) -> None:
        """See `RunLogger`."""
        text = json.dumps(redact(document), indent=2, ensure_ascii=False, default=str)
        write_atomically(self._artifact(run_id, artifact_path), text + "\n")

    def log_file(self, run_id: str, path: Path | str, artifact_path: str = "") -> None:
        """See `RunLogger`."""
        write_artifact(Path(path), self._artifact(run_id, artifact_path or Path(path).name))

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """See `RunLogger`."""
        self._append(run_id, {"status": status, "time_ms": _now()})

    def forget(self, run_id: str) -> None:
        """See `RunLogger`."""
        self._stored.pop(run_id, None)

    def flush(self, run_id: str = "") -> int:  # noqa: ARG002 - nothing is queued
        """See `RunLogger`."""
        return 0

    # ---- reading

    def get(self, run_id: str) -> StoredRun:
        """See `RunStore`."""
        return _with_metrics(_read_run(self._run_folder(run_id)))

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
        folders = self.folder.glob(f"{'*' if all_experiments else self.experiment}/*/{EVENTS}")
        found = [
            run
            for run in (_read_run(file.parent) for file in folders)
            if name in ("", run.name)
            and status in ("", run.status)
            and all(run.tags.get(tag) == value for tag, value in (tags or {}).items())
            and all(run.tags.get(tag) for tag in with_tags)
        ]
        newest = sorted(found, key=lambda run: run.start_ms, reverse=True)[:limit]
        return [_with_metrics(run) for run in newest]

    def find(self, name_or_id: str, *, finished_first: bool = False) -> StoredRun:
        """See `RunStore`."""
        ids = [file.parent.name for file in self.folder.glob(f"*/*/{EVENTS}")]
        starts = [each for each in ids if each.startswith(name_or_id)] if len(name_or_id) >= MIN_PREFIX else []
        if len(starts) == 1:
            return self.get(starts[0])
        named = self.runs(name=name_or_id, status="FINISHED", all_experiments=True, limit=1) if finished_first else []
        named = named or self.runs(name=name_or_id, all_experiments=True, limit=1)
        if named:
            return named[0]
        found = f"{len(starts)} ids start so" if starts else "no run has this name or id"
        names = ", ".join(sorted({run.name for run in self.runs(all_experiments=True)})[:8])
        fix = "give more of the id" if starts else not_found_fix(name_or_id)
        raise InputError(
            f"run `{name_or_id}`", f"{found} in {self.folder}", allowed=names or "it holds no run", fix=fix
        )

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See `RunStore`."""
        values = (each for each in _read_metrics(self._run_folder(run_id) / METRICS) if each.key == key)
        return sorted(values, key=lambda each: each.step)

    def download(self, run_id: str, artifact: str, folder: Path | str) -> Path:
        """See `RunStore`."""
        source, target = self._artifact(run_id, artifact), Path(folder) / artifact
        if not source.exists():
            there = names_in(self._artifact(run_id, ""))
            raise InputError(f"run {run_id}", f"no artifact `{artifact}`", allowed=", ".join(there) or "it has none")
        write_artifact(source, target)
        return target

    def save_sweep_view(self, key: str, runs: Sequence[StoredRun], *, metric: str) -> list[str]:  # noqa: ARG002
        """See `RunStore`; files have no pages."""
        return [metric]

    # ---- one run

    def _run_folder(self, run_id: str) -> Path:
        found = next(self.folder.glob(f"*/{run_id}"), None)
        if found is None:
            raise InputError(f"run {run_id}", f"not in {self.folder}")
        return found

    def _artifact(self, run_id: str, name: str) -> Path:
        return self._run_folder(run_id) / ARTIFACTS / name.strip("/")

    def _append(self, run_id: str, event: Mapping[str, Any]) -> None:
        folder = self._run_folder(run_id)
        with _locked(folder):
            _append_text(folder / EVENTS, json.dumps(event, ensure_ascii=False) + "\n")


def _locked(folder: Path) -> FileLock:
    return FileLock(folder / ".lock")


def _read_run(folder: Path) -> StoredRun:
    """A run without its metrics, whose file is much longer."""
    name, status, start_ms, end_ms = "", "RUNNING", 0, 0
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    for event in _read_events(folder / EVENTS):
        name = event.get("name", name)
        tags |= event.get("tags", {})
        params = event.get("params", {}) | params
        if "status" in event:
            status = event["status"]
            start_ms = start_ms or event["time_ms"]
            end_ms = 0 if status == "RUNNING" else event["time_ms"]
    where, experiment = str(folder / ARTIFACTS), folder.parent.name
    return StoredRun(folder.name, name, status, params, {}, tags, where, experiment, start_ms, end_ms)


def _with_metrics(run: StoredRun) -> StoredRun:
    """The run with the newest value of each metric."""
    latest: dict[str, Metric] = {}
    for each in _read_metrics(Path(run.artifact_uri).parent / METRICS):
        if each.key not in latest or each.step >= latest[each.key].step:
            latest[each.key] = each
    return replace(run, metrics={key: each.value for key, each in latest.items()})


def _now() -> int:
    return time.time_ns() // 1_000_000


def _append_text(file: Path, text: str) -> None:
    """Append lines. If a killed process left an incomplete line, end it first."""
    with file.open("a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                text = "\n" + text
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _append_rows(file: Path, rows: Iterable[Sequence[Any]]) -> None:
    head = "" if file.exists() else "key,step,value,timestamp_ms\n"
    _append_text(file, head + "".join(",".join(map(str, row)) + "\n" for row in rows))


def _read_events(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # half a line
            continue


def _read_metrics(file: Path) -> Iterator[Metric]:
    if not file.exists():
        return
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                yield Metric(row["key"], float(row["value"] or math.nan), int(row["step"]), int(row["timestamp_ms"]))
            except (TypeError, ValueError):  # half a line
                continue
