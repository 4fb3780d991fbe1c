"""The protocols of a store of runs; `tracking.mlflow.store` and `tracking.file_store` implement them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from side4video.core.metric import Metric
from side4video.tracking.tags import SWEEP_TAG

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the store holds it."""

    run_id: str
    name: str
    status: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    """The latest value of each."""
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
    """Writes runs. Writing the same twice is the same as once; an outage of a server is not an error."""

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
            resume: Whether an unfinished run of this key is continued; otherwise a new one is made.
            reopen_finished: Whether a finished one is continued too.

        Returns:
            The run's id.
        """
        ...

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Store metrics; of one key and step the first value stays."""
        ...

    def log_params(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Store a nested document under dotted names, secrets hidden; the first value of a name stays."""
        ...

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, secrets hidden; the newest value of a tag stays."""
        ...

    def log_json(self, run_id: str, document: Any, artifact_path: str) -> None:
        """Store a JSON document as an artifact, secrets hidden."""
        ...

    def log_file(self, run_id: str, path: Path | str, artifact_path: str = "") -> None:
        """Store a file, or a folder with all its files, as an artifact."""
        ...

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """Store how the run ended."""
        ...

    def forget(self, run_id: str) -> None:
        """Drop what is remembered of a run's stored metrics: another process has written some."""
        ...

    def flush(self, run_id: str = "") -> int:
        """Deliver what waits for a server, of one run or of all; the number of records that still wait."""
        ...


class RunStore(RunLogger, Protocol):
    """Writes runs and reads them back."""

    uri: str
    experiment: str

    def prepare(self) -> Self:
        """Make what is not there yet (folders, tables, the experiment).

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
            all_experiments: Of all experiments, not only this one.
            limit: The largest number of runs.
        """
        ...

    def find(self, name_or_id: str) -> StoredRun:
        """The run with this id or unique start of an id, or the newest with this name, in any experiment.

        Raises:
            InputError: If there is none, or several ids start so.
        """
        ...

    def history(self, run_id: str, key: str) -> list[Metric]:
        """Every value of one metric, by step."""
        ...

    def download(self, run_id: str, artifact: str, folder: Path | str) -> Path:
        """Copy an artifact, a file or a folder, below `folder`; its path there.

        Raises:
            InputError: If the run has no such artifact.
        """
        ...

    def save_sweep_view(self, key: str, runs: Sequence[StoredRun], *, metric: str) -> list[str]:
        """Save a view of a sweep's arms, if the store has pages; the metrics that it shows."""
        ...
