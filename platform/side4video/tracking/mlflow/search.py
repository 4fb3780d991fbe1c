"""Reads runs from MLflow, by filter, by name or by id."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.tracking.run_store import MIN_PREFIX, StoredRun, not_found_fix

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_SIZE = 1000
"""Runs per request."""


def stored_run(run: "Run") -> StoredRun:
    """An MLflow run as a `StoredRun`."""
    info, data = run.info, run.data
    return StoredRun(
        run_id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        artifact_uri=info.artifact_uri or "",
        experiment_id=info.experiment_id,
        start_ms=info.start_time or 0,
        end_ms=info.end_time or 0,
    )


def filter_text(*, name: str, status: str, tags: Mapping[str, str], with_tags: Sequence[str]) -> str:
    """The arguments of `RunStore.runs` in MLflow's filter language."""
    parts = [f"attributes.run_name = {quoted(name)}"] if name else []
    parts += [f"attributes.status = {quoted(status)}"] if status else []
    parts += [f"tags.`{tag}` = {quoted(value)}" for tag, value in tags.items()]
    parts += [f"tags.`{tag}` != ''" for tag in with_tags]
    return " and ".join(parts)


def quoted(text: str) -> str:
    """The text as a string of MLflow's filter language, which has no escapes.

    Raises:
        InputError: If it contains both kinds of quotes.
    """
    for mark in ("'", '"'):
        if mark not in text:
            return f"{mark}{text}{mark}"
    raise InputError("run", f"`{text}` holds both kinds of quotes", fix="give the run's id")


def search(client: "MlflowClient", experiments: Sequence[str], *, filter: str, limit: int) -> list[StoredRun]:  # noqa: A002
    """The matching runs of the experiments, newest first, at most `limit`."""
    found: list[StoredRun] = []
    token: str | None = None
    order = ["attributes.start_time DESC"]
    while len(found) < limit:
        wanted = min(PAGE_SIZE, limit - len(found))
        page = client.search_runs(list(experiments), filter, max_results=wanted, order_by=order, page_token=token)
        found += map(stored_run, page)
        token = page.token
        if not token:
            break
    return found


def find_run(client: "MlflowClient", name_or_id: str, *, where: str, finished_first: bool = False) -> StoredRun:
    """The run with this id, else the newest with this name, else the only one with this start of its id.

    With `finished_first`, of several with this name the newest finished one, if there is any.

    Raises:
        InputError: If there is none, or several ids start so.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]

    def matching(filter: str, limit: int = 10) -> list[StoredRun]:  # noqa: A002
        return search(client, experiments, filter=filter, limit=limit)

    text = quoted(name_or_id)
    named = f"attributes.run_name = {text}"
    exact = matching(f"attributes.run_id = {text}", 1)
    if not exact and finished_first:
        exact = matching(f"{named} AND attributes.status = 'FINISHED'", 1)
    exact = exact or matching(named, 1)
    if exact:
        return exact[0]
    # `%` and `_` are wildcards, and never part of an id.
    may_be_id = name_or_id.isalnum() and len(name_or_id) >= MIN_PREFIX
    matches = matching(f"attributes.run_id LIKE '{name_or_id.lower()}%'") if may_be_id else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(run.run_id[:12] for run in matches)
        raise InputError(where, "several runs have an id that starts so", allowed=ids, fix="give more of the id")
    names = [run.name for run in matching("", PAGE_SIZE)]
    near = difflib.get_close_matches(name_or_id, names, n=5) or list(dict.fromkeys(names))[:5]
    allowed = ", ".join(dict.fromkeys(near)) or "the store has no runs yet"
    raise InputError(where, "no run has this name or id", allowed=allowed, fix=not_found_fix(name_or_id))
