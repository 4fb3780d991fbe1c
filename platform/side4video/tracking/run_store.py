"""The protocols of a run store; `tracking.mlflow.store` and `tracking.file_store` implement them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.core.temporary import temporary_folder
from side4video.tracking.tags import SWEEP_TAG

Status = Literal["FINISHED", "FAILED", "KILLED"]
MIN_PREFIX = 4
"""Minimum characters of the start of an id that finds a run."""
_ID_DIGITS = frozenset("0123456789abcdefABCDEF")


def not_found_fix(name_or_id: str) -> str:
    """What to do about a name or an id that no run has."""
    is_short_id = 0 < len(name_or_id) < MIN_PREFIX and set(name_or_id) <= _ID_DIGITS
    if is_short_id:
        return f"give {MIN_PREFIX} or more characters of the id"
    return "`side4video.runs()` in Python, or `side4video ui`, shows the runs"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the store."""

    run_id: str
    name: str
    status: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    """The latest values."""
    tags: Mapping[str, str]
    artifact_uri: str
    experiment_id: str
    start_ms: int
    end_ms: int
    """Milliseconds since 1970; 0 while it runs."""

    def is_in_sweep(self, key: str) -> bool:
        """Whether it is a run of the sweep with this key."""
        return self.tags.get(SWEEP_TAG) == key


class RunLogger(Protocol):
    """Writes runs. Writes are idempotent. An outage of a server is not an error: writes are delivered later."""

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
        """Start the run of this key, or continue it if it is unfinished (running, failed or killed).

        Args:
            name: Shown to people; names may repeat.
            key: Identifies the run, such as the hash of its spec.
            tags: Further tags.
            params: A nested document.
            parent: The id of the run that it belongs to.
            resume: Whether to continue an unfinished run of this key; otherwise a new one is created.
            reopen_finished: Whether to continue a finished run too.

        Returns:
            The run's id.
        """
        ...

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Store metrics. The first value of a key and step is kept."""
        ...

    def log_params(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Store a nested document under dotted names, without secrets. The first value of a name is kept."""
        ...

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, without secrets. The newest value of a tag is kept."""
        ...

    def log_json(self, run_id: str, document: Any, artifact_path: str) -> None:
        """Store a JSON document as an artifact, without secrets."""
        ...

    def log_file(self, run_id: str, path: Path | str, artifact_path: str = "") -> None:
        """Store a file, or a folder with all its files, as an artifact."""
        ...

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """Set the final status."""
        ...

    def forget(self, run_id: str) -> None:
        """Clear the cache of a run's stored metrics, because another process has written some."""
        ...

    def flush(self, run_id: str = "") -> int:
        """Deliver queued writes of one run or of all; returns the number of those still queued."""
        ...


class RunStore(RunLogger, Protocol):
    """Writes runs and reads them back."""

    uri: str
    experiment: str

    def prepare(self) -> Self:
        """Create missing folders, tables and the experiment.

        Raises:
            InputError: If it cannot be reached or written.
        """
        ...

    @property
    def experiment_id(self) -> str:
        """The id of the experiment that new runs belong to."""
        ...

    def get(self, run_id: str) -> StoredRun:
        """A run with its parameters, tags and latest metrics."""
        ...

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
        """Runs, newest first.

        Args:
            name: Only runs of this name.
            status: Only runs of this status.
            tags: Only runs whose tags have these values.
            with_tags: Only runs that have these tags.
            all_experiments: Whether to search all experiments, not only this one.
            limit: The largest number of runs.
        """
        ...

    def find(self, name_or_id: str, *, finished_first: bool = False) -> StoredRun:
        """The run with this id or unique start of an id, or the newest with this name, in any experiment.

        With `finished_first`, of several with this name the newest finished one, if there is any.

        Raises:
            InputError: If there is none, or several ids start so.
        """
        ...

    def history(self, run_id: str, key: str) -> list[Metric]:
        """Every value of one metric, by step."""
        ...

    def download(self, run_id: str, artifact: str, folder: Path | str) -> Path:
        """Copy an artifact, a file or a folder, below `folder`; returns its path.

        Raises:
            InputError: If the run has no such artifact.
        """
        ...

    def save_sweep_view(self, key: str, runs: Sequence[StoredRun], *, metric: str) -> list[str]:
        """Save a view of a sweep's arms, if the store has pages; returns the metrics of the view."""
        ...


def artifact_text(store: RunStore, run_id: str, artifact: str, *, default: str | None = None) -> str:
    """The text of an artifact, or `default` if the run has none.

    Raises:
        InputError: There is neither.
    """
    with temporary_folder() as folder:
        try:
            return store.download(run_id, artifact, folder).read_text(encoding="utf-8")
        except InputError:
            if default is None:
                raise
            return default
