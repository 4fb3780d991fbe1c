"""What a home and a folder hold after commands: runs with their metrics, models, files, and what should not be left.

The database is read without MLflow: a process that has opened it cannot be forked.
"""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from side4video.core.files import checksum_of, file_checksums
from side4video.tracking.tags import DIGEST_TAG, KEY_TAG, RUN_KIND_TAG, STATE_TAG, SWEEP_TAG

MEASURED_ANEW = ("time/", "system/", "memory/process", "memory/peak", "memory/reserved", "sweep/")
"""Metrics whose values differ from run to run; their names do not."""
OWN_TAGS = {"side4video.notes", "failure"}
"""Tags that say what happened."""
EMPTY_LOCKS = re.compile(r"mlflow\.db\.lock|(data|outbox|features)/[^/.]+\.lock")
"""Files of locks that stay on purpose; they are empty, and hold nobody up."""
LEFT = re.compile(r".*(\.partial|\.lock|\.new|\.tmp)|locks/.+|outbox/.+\.jsonl")


def runs_of(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Records of runs, by what should be there once: an experiment, an arm of a sweep, a sweep."""
    with closing(_opened(home)) as connection:
        runs = connection.execute(
            "SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time"
        ).fetchall()
        found: dict[str, list[dict[str, Any]]] = {}
        for run_id, name, status in runs:
            tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
            is_sweep = RUN_KIND_TAG in tags
            identity = tags.get(KEY_TAG if is_sweep or SWEEP_TAG in tags else DIGEST_TAG, "")
            record = {
                "status": status,
                "state": tags.get(STATE_TAG),
                "tags": sorted(tags.keys() - OWN_TAGS),
                **_metrics(connection, run_id, is_sweep=is_sweep),
                **_artifacts(home / "artifacts" / run_id / "artifacts"),
            }
            found.setdefault(f"{name} {identity}", []).append(record)
    return found


def _metrics(connection: sqlite3.Connection, run_id: str, *, is_sweep: bool) -> dict[str, Any]:
    """Metrics of a run; each further call of a sweep adds a step to those of its run, on purpose."""
    rows = connection.execute(
        "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY key, step", (run_id,)
    ).fetchall()
    counts = Counter((key, step) for key, step, _ in rows)
    return {
        "doubled": [f"{key} at step {step}" for (key, step), count in counts.items() if count > 1],
        "steps": sorted({key if is_sweep else f"{key} {step}" for key, step in counts}),
        "values": [row for row in rows if not is_sweep and not row[0].startswith(MEASURED_ANEW)],
    }


def _artifacts(folder: Path) -> dict[str, Any]:
    sums = file_checksums(folder) if folder.is_dir() else {}
    kept = (".safetensors", "predictions.csv", "views.csv")
    return {
        "artifacts": sorted(sums),
        "weights": {name: found["sha256"] for name, found in sums.items() if name.endswith(kept)},
    }


def models_of(home: Path) -> dict[str, Any]:
    """Versions in the registry, and the files of the logged models."""
    with closing(_opened(home)) as connection:
        versions = connection.execute("SELECT name, version, status FROM model_versions ORDER BY version").fetchall()
        logged = connection.execute("SELECT model_id, status FROM logged_models").fetchall()
    files = [
        sorted(name for name in file_checksums(home / "artifacts" / "models" / model / "artifacts"))
        for model, _ in logged
    ]
    return {"versions": [list(row) for row in versions], "states": [state for _, state in logged], "files": files}


def _opened(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)


def data_of(home: Path) -> dict[str, Any]:
    """Checksums of the generated data sets' files."""
    return {
        f"{folder.name}/{name}": found["sha256"]
        for folder in sorted((home / "data").glob("motion-*"))
        if folder.is_dir()
        for name, found in file_checksums(folder).items()
    }


def files_of(folder: Path) -> dict[str, str]:
    """Checksums of a folder's files."""
    return {path.name: checksum_of(path)["sha256"] for path in sorted(folder.glob("*")) if path.is_file()}


def leftovers(place: Path) -> set[str]:
    """Files that commands should not leave below a folder with a home in it, and below its folder `tmp`."""
    home = place / "home"
    found = {str(path.relative_to(home)) for path in home.rglob("*")}
    left = {f"home/{name}" for name in found if LEFT.fullmatch(name) and not EMPTY_LOCKS.fullmatch(name)}
    beside = [path for path in (*place.glob("*"), *(place / "out").glob("*")) if not path.is_relative_to(home)]
    left |= {path.name for path in beside if path.name.startswith(".") or LEFT.fullmatch(path.name)}
    return left | {f"tmp/{path.name}" for path in (place / "tmp").glob("*")}


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where two records differ, one line each."""
    if expected == found:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        return [
            line
            for key in keys
            for line in differences(expected.get(key), found.get(key), f"{where} · {key}" if where else str(key))
        ]
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) == len(found) == 1:
            return differences(expected[0], found[0], where)
        missing = [each for each in expected if each not in found][:3]
        more = [each for each in found if each not in expected][:3]
        return [f"{where}: {len(expected)} and {len(found)}; missing {missing!r:.300}; more {more!r:.300}"]
    return [f"{where}: {expected!r:.150} and {found!r:.150}"]
