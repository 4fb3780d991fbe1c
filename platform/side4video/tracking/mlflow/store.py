"""Stores runs in MLflow, without lost or duplicated values.

Every write has a run id. A run is started by key: starting the same key again, after a crash or a retry, continues the
unfinished run. A metric has one value per key and step, and values that are stored already are skipped, so a resumed
run may report its last epoch again. Writes are synchronous, because MLflow's asynchronous queue loses data under load.
During an outage, writes are kept in the offline queue.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.core.temporary import temporary_folder
from side4video.spec.tracking import is_postgresql, sqlite_path
from side4video.tracking.mlflow import connection, postgresql
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG, KIND, KIND_TAG, PARENT_TAG, VIEW_TAG
from side4video.tracking.mlflow.connection import ServerUnavailableError, translate_errors
from side4video.tracking.mlflow.local_artifacts import local_path, move_addresses, names_in, was_moved, write_artifact
from side4video.tracking.mlflow.parameters import TAG_LIMIT, VALUE_LIMIT, batches, cut, flatten, plain_name
from side4video.tracking.mlflow.reserved_space import reserve_space
from side4video.tracking.mlflow.restarts import waits_for_restart
from side4video.tracking.mlflow.saved_views import arms_filter, as_tag, sweep_view, varying
from side4video.tracking.mlflow.search import filter_text, find_run, quoted, search, stored_run
from side4video.tracking.mlflow.writer import Writer
from side4video.tracking.redaction import redact, redact_text
from side4video.tracking.run_store import Status, StoredRun
from side4video.tracking.tags import EXPERIMENT_DESCRIPTION, KEY_TAG, SWEEP_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment


log = logging.getLogger(__name__)

MAX_METRICS_PER_REQUEST = 500

MEASURED_MEMORY, PLANNED_MEMORY = "memory/peak_gib", "plan/peak_memory_gib"


class MLflowStore:
    """An experiment in an MLflow store (`tracking.run_store.RunStore`).

    It is cheap to create and to pickle: the client is created on first use.
    """

    def __init__(self, uri: str = "", experiment: str = "side4video") -> None:
        """See `MLflowTrackingSpec` for the arguments.

        Raises:
            InputError: If the address is a relative path or a file store.
        """
        self.uri, self.experiment = connection.resolve_uri(uri), experiment
        self._writer = Writer(self.uri)
        self._experiment_id = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self.experiment))

    def __repr__(self) -> str:
        return f"Store({redact_text(self.uri)!r}, {self.experiment!r})"

    # ---- the store itself

    def prepare(self) -> "MLflowStore":
        """Create the database and the experiment if they do not exist. Safe in several processes at once.

        Raises:
            InputError: If the store cannot be reached, or the experiment was deleted.
        """
        if self._experiment_id:
            return self
        try:
            self._experiment_id = self._find_or_make_experiment()
        except ServerUnavailableError as error:
            found = f"{redact_text(self.uri)} cannot be used ({error})"
            fix = "start the server, or leave `tracking.uri` empty to keep the run in a local file"
            fix = postgresql.FIX if is_postgresql(self.uri) else fix
            raise InputError("tracking.uri", found, fix=fix) from error
        self._writer.deliver_waiting()
        return self

    @property
    def experiment_id(self) -> str:
        """The experiment's id in the store."""
        return self.prepare()._experiment_id

    @waits_for_restart
    @translate_errors
    def _find_or_make_experiment(self) -> str:
        client = self._client
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            with connection.store_lock(self.uri):
                found = client.get_experiment_by_name(self.experiment) or self._make_experiment()
        if found.lifecycle_stage != "active":
            fix = "choose another name, or restore it: mlflow experiments restore"
            raise InputError("tracking.experiment", f"`{self.experiment}` was deleted from the store", fix=fix)
        self._follow_moved_home(found.artifact_location)
        return found.experiment_id

    def _follow_moved_home(self, location: str) -> None:
        """Where the home was moved or copied, record where its artifacts are now: for new runs, and MLflow's pages."""
        database = sqlite_path(self.uri)
        if database is None:
            return
        folder = connection.artifact_folder(self.uri)
        if was_moved(location, folder):
            try:
                with connection.store_lock(self.uri):
                    move_addresses(Path(database), location, connection.quoted_path(folder))
            except (sqlite3.Error, InputError) as error:
                log.info("the addresses of artifacts stay as they are: %s", error)  # they are found all the same

    def _make_experiment(self) -> "Experiment":
        folder = None if connection.is_server(self.uri) else connection.artifact_folder(self.uri)
        location = connection.quoted_path(folder) if folder else None
        tags = {DESCRIPTION_TAG: EXPERIMENT_DESCRIPTION, KIND_TAG: KIND}
        try:
            return self._client.get_experiment(self._client.create_experiment(self.experiment, location, tags))
        except Exception:
            # The lock is local: a process on another machine may have created it first.
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return found

    @translate_errors
    def artifact_locations(self) -> dict[str, str]:
        """The artifact location of each experiment, by name. Creates the tables, but no experiment."""
        found = self._client.search_experiments()
        # Experiment 0 is MLflow's default, which side4video does not use.
        return {each.name: each.artifact_location for each in found if each.experiment_id != "0"}

    @property
    def _client(self) -> "MlflowClient":
        return self._writer.client

    @waits_for_restart
    @translate_errors
    def experiment_name(self, experiment_id: str) -> str:
        """The name of an experiment of this store."""
        return self._client.get_experiment(experiment_id).name

    @waits_for_restart
    @translate_errors
    def save_view(self, name: str, view: dict[str, Any]) -> None:
        """Save a view of the experiment's page under a name for links. An existing view is replaced.

        Raises:
            ServerUnavailableError: If the store is not reachable. Views are not queued.
        """
        self._client.set_experiment_tag(self.experiment_id, f"{VIEW_TAG}{name}", as_tag(view))

    def save_sweep_view(self, key: str, runs: Sequence[StoredRun], *, metric: str) -> list[str]:
        """See `RunStore`. The view's name is the sweep's key.

        Returns:
            The metrics with an axis: memory (measured if all arms have it, else planned), and `metric`.

        Raises:
            ServerUnavailableError: If the store is not reachable.
        """
        memory = MEASURED_MEMORY if runs and all(MEASURED_MEMORY in run.metrics for run in runs) else PLANNED_MEMORY
        metrics = [memory, metric]
        parameters = varying([dict(run.params) for run in runs])
        self.save_view(key, sweep_view(arms_filter(key, SWEEP_TAG), parameters=parameters, metrics=metrics, uuid=key))
        return metrics

    # ---- runs

    @translate_errors
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
        """See `RunLogger`.

        Raises:
            InputError: If the store is not reachable.
        """
        all_tags = {**(tags or {}), KEY_TAG: key, **({PARENT_TAG: parent} if parent else {})}
        experiment_id = self.experiment_id
        if database := sqlite_path(self.uri):
            reserve_space(Path(database))
        with connection.store_lock(self.uri):
            run_id = self._continue(key, reopen_finished) if resume else ""
            if not run_id:
                run_id = self._create(experiment_id, time.time_ns() // 1_000_000, _plain_tags(all_tags), name)
                all_tags = {}
        if all_tags:
            self.set_tags(run_id, all_tags)
        if params:
            self.log_params(run_id, params)
        return run_id

    @waits_for_restart
    @translate_errors
    def _create(self, experiment_id: str, start_ms: int, tags: dict[str, str], name: str) -> str:
        """Create a run. A database that was killed may have created it without saying so: then it is found again."""
        if is_postgresql(self.uri):
            for run in self.runs(f"tags.`{KEY_TAG}` = {quoted(tags[KEY_TAG])}"):
                if run.start_ms == start_ms:
                    return run.run_id
        return self._client.create_run(experiment_id, start_ms, tags, name).info.run_id

    @waits_for_restart
    @translate_errors
    def _continue(self, key: str, reopen_finished: bool) -> str:
        for run in self.runs(f"tags.`{KEY_TAG}` = {quoted(key)}"):
            if run.status != "FINISHED":
                self._writer.flush(run.run_id)  # first deliver queued writes, which may include its end
            if reopen_finished or self.get(run.run_id).status != "FINISHED":
                self._client.update_run(run.run_id, status="RUNNING")
                self._writer.forget(run.run_id)
                return run.run_id
        return ""

    def forget(self, run_id: str) -> None:
        """See `RunLogger`."""
        self._writer.forget(run_id)

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """See `RunLogger`."""
        self._writer.write(run_id, {"status": status, "end_ms": time.time_ns() // 1_000_000})

    @waits_for_restart
    @translate_errors
    def get(self, run_id: str) -> StoredRun:
        """See `RunStore`."""
        return stored_run(self._client.get_run(run_id))

    @waits_for_restart
    @translate_errors
    def history(self, run_id: str, key: str) -> list[Metric]:
        """See `RunStore`."""
        values = self._client.get_metric_history(run_id, key)
        return sorted((Metric(m.key, m.value, m.step, m.timestamp) for m in values), key=lambda m: m.step)

    @waits_for_restart
    @translate_errors
    def runs(
        self,
        filter: str = "",  # noqa: A002 - MLflow's name
        *,
        name: str = "",
        status: str = "",
        tags: Mapping[str, str] | None = None,
        with_tags: Sequence[str] = (),
        all_experiments: bool = False,
        limit: int = 50_000,
    ) -> list[StoredRun]:
        """See `RunStore`. An MLflow filter, such as "metrics.`eval/top1` > 0.5", replaces the other arguments."""
        text = filter or filter_text(name=name, status=status, tags=tags or {}, with_tags=with_tags)
        experiments = [self.experiment_id]
        if all_experiments:
            experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        return search(self._client, experiments, filter=text, limit=limit)

    @waits_for_restart
    @translate_errors
    def find(self, name_or_id: str, *, finished_first: bool = False) -> StoredRun:
        """See `RunStore`."""
        self.prepare()
        return find_run(self._client, name_or_id, where=f"run `{name_or_id}`", finished_first=finished_first)

    # ---- contents of a run

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """See `RunLogger`."""
        for start in range(0, len(metrics), MAX_METRICS_PER_REQUEST):
            self._writer.write(run_id, {"metrics": list(metrics[start : start + MAX_METRICS_PER_REQUEST])})

    def log_params(self, run_id: str, document: Mapping[str, Any]) -> None:
        """See `RunLogger`.

        Values above MLflow's limit are cut; then the complete document is also stored as the artifact `params.json`.
        """
        hidden = redact(document)
        flat = flatten(hidden)
        for portion in batches({name: cut(value, VALUE_LIMIT) for name, value in flat.items()}):
            self._writer.write(run_id, {"params": portion})
        if any(len(value) > VALUE_LIMIT for value in flat.values()):
            self.log_json(run_id, hidden, "params.json")

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """See `RunLogger`."""
        for portion in batches(_plain_tags(tags)):
            self._writer.write(run_id, {"tags": portion})

    def log_text(self, run_id: str, text: str, artifact_path: str) -> None:
        """Store text as an artifact, without passwords in addresses."""
        self._log_content(run_id, redact_text(text), artifact_path)

    def log_json(self, run_id: str, document: Any, artifact_path: str) -> None:
        """See `RunLogger`."""
        text = json.dumps(redact(document), indent=2, ensure_ascii=False, default=str)
        self._log_content(run_id, text + "\n", artifact_path)

    def log_file(self, run_id: str, path: Path | str, artifact_path: str = "") -> None:
        """See `RunLogger`.

        Raises:
            FileNotFoundError: If the path does not exist.
        """
        source = Path(path).absolute()
        if not source.exists():
            raise FileNotFoundError(source)
        self._writer.write(run_id, {"artifact": str(source), "name": (artifact_path or source.name).strip("/")})

    def _log_content(self, run_id: str, text: str, artifact_path: str) -> None:
        with temporary_folder() as folder:
            file = folder / Path(artifact_path).name
            file.write_text(text, encoding="utf-8")
            self.log_file(run_id, file, artifact_path)

    @waits_for_restart
    @translate_errors
    def download(self, run_id: str, artifact: str, folder: Path | str) -> Path:
        """See `RunStore`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        above = artifact.rpartition("/")[0]
        local = self._writer.local_folder(run_id)
        if local is None:
            names = [item.path for item in self._client.list_artifacts(run_id, above or None)]
        else:
            names = [f"{above}/{name}" if above else name for name in names_in(local / above)]
        if artifact not in names:
            if local is not None:
                self._refuse_missing_folder(run_id, local)
            where, found = f"run {run_id}", f"no artifact `{artifact}`"
            raise InputError(where, found, allowed=", ".join(names) or "it has none there")
        if local is None:
            return Path(self._client.download_artifacts(run_id, artifact, str(folder)))
        with explaining_disk_errors(folder):
            write_artifact(local / artifact, folder / artifact)
        return folder / artifact

    def _refuse_missing_folder(self, run_id: str, folder: Path) -> None:
        """Say that the folder of a run's artifacts is gone, and where it was looked for."""
        recorded = local_path(str(self._client.get_run(run_id).info.artifact_uri)) or folder
        if folder.is_dir() or recorded.parents[1].is_dir():
            return
        places = f"{recorded}, where the store says they are, or in {folder}" if recorded != folder else f"{folder}"
        raise InputError(
            f"run {run_id}",
            f"its files are not in {places}",
            fix=f"bring the folder of artifacts back, to {connection.artifact_folder(self.uri)}",
        )

    def flush(self, run_id: str = "") -> int:
        """See `RunLogger`."""
        return self._writer.flush(run_id)


def _plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {plain_name(name): cut(str(value), TAG_LIMIT) for name, value in redact(tags).items()}
