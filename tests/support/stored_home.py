"""What an older version left on disk, made fit for another place, and the commands that are asked about it.

Nothing here knows a module of the package: the command is found by its entry point, the store is read with SQLite.
Only `sweep_names` does, because no command says the hash of a sweep and of its arms.
"""

import hashlib
import io
import json
import os
import platform
import re
import sqlite3
import sys
import tarfile
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = "@ROOT@"
"""Stands in stored files for the folder that holds `home` and `work`."""
STORE = "@STORE@"
"""Stands in the outbox for the short name of the store, which is a hash of its address."""
TEXT = {".csv", ".html", ".json", ".jsonl", ".md", ".svg", ".tex", ".txt", ".yaml"}
MEASURED = ("eval/%", "best/%", "train/loss", "train/gradient_norm", "train/learning_rate")
"""What a run logs that depends on nothing but its document."""


# ---- commands


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """The document on stdout; the command must have ended well."""
        assert self.code == 0, self.error
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A folder with a home of the platform and a folder to work in."""

    root: Path

    @property
    def home(self) -> Path:
        """Runs, records, data."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """Documents, exported folders, packed sets."""
        return self.root / "work"

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.home / "mlflow.db"

    @property
    def environment(self) -> dict[str, str]:
        """For a process that works here."""
        others = {
            name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")
        }
        ours = {"SIDE4VIDEO_HOME": str(self.home), "STORED": str(self.work), "OMP_NUM_THREADS": "1"}
        return {**others, **ours, "CUDA_VISIBLE_DEVICES": ""}

    def command(self, *arguments: object) -> Answer:
        """The installed command in this process, in the folder to work in."""
        (entry,) = entry_points(group="console_scripts", name="side4video")
        _forget_artifact_folders()
        out, error, code = io.StringIO(), io.StringIO(), 0
        with (
            patch.dict(os.environ, self.environment, clear=True),
            patch.object(sys, "argv", ["side4video", *map(str, arguments)]),
            chdir(self.work),
            redirect_stdout(out),
            redirect_stderr(error),
        ):
            try:
                entry.load()()
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
        return Answer(code, out.getvalue(), error.getvalue())

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the store."""
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute(sql, values).fetchall()
            database.commit()
        return rows

    def run_id(self, name: str) -> str:
        """The id of the only run of a name."""
        ((run_id,),) = self.query("SELECT run_uuid FROM runs WHERE name = ?", name)
        return run_id

    def status(self, run_id: str) -> str:
        """How MLflow says that a run ended."""
        ((status,),) = self.query("SELECT status FROM runs WHERE run_uuid = ?", run_id)
        return status

    def history(self, run_id: str) -> list[list[Any]]:
        """Every value of what depends on nothing but the document: key, step, value."""
        chosen = " OR ".join("key LIKE ?" for _ in MEASURED)
        sql = f"SELECT key, step, value FROM metrics WHERE run_uuid = ? AND ({chosen}) ORDER BY key, step"  # noqa: S608
        return [list(row) for row in self.query(sql, run_id, *MEASURED)]

    def artifact(self, run_id: str, pattern: str) -> Path:
        """The only artifact of a run that matches."""
        (found,) = (self.home / "artifacts" / run_id / "artifacts").glob(pattern)
        return found


def _forget_artifact_folders() -> None:
    """MLflow keeps in a process where the artifacts of a run lie; here the same run lies at many places."""
    utils = sys.modules.get("mlflow.tracking._tracking_service.utils")
    getattr(utils, "_artifact_repos_cache", {}).clear()


# ---- another place


def store_name(database: Path) -> str:
    """What the outbox calls a SQLite store."""
    return hashlib.sha256(f"sqlite:///{database}".encode()).hexdigest()[:16]


def replace_text(folder: Path, old: str, new: str) -> None:
    """Put one text for another in all text files and in all columns of all tables."""
    for file in (each for each in folder.rglob("*") if each.suffix in TEXT and each.is_file()):
        content = file.read_bytes()
        if old.encode() in content:
            file.write_bytes(content.replace(old.encode(), new.encode()))
    for file in folder.rglob("*.db"):
        with closing(sqlite3.connect(file)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for column in [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]:
                    database.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)',  # noqa: S608
                        (old, new, old),
                    )
            database.commit()
            database.execute("VACUUM")


def write_archive(folder: Path, archive: Path) -> None:
    """All of a folder, without owners and times."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, file.relative_to(folder), recursive=False, filter=plain)


def unpack(version: Path, root: Path) -> Place:
    """A version's folder at a new place, as if it had been written there."""
    with tarfile.open(version / "home.tar.xz") as tar:
        tar.extractall(root, filter="data")
    replace_text(root, ROOT, str(root))
    place = Place(root)
    replace_text(place.home / "outbox", STORE, store_name(place.database))
    return place


# ---- comparing


def processor() -> str:
    """Name, family, model and stepping of this machine's processor: arithmetic may differ between two."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    names = ("model name", "cpu family", "model", "stepping")
    found = [re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE) for name in names]
    return ", ".join(each.group(1).strip() for each in found if each) or platform.processor() or platform.machine()


def tensors_sha256(file: Path) -> str:
    """Of names, shapes, types and bytes, in the order of the names; what else the file says does not count."""
    from safetensors.torch import load_file

    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def sha256(file: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def differences(now: Any, then: Any, where: str = "") -> list[str]:
    """Keys, types, counts (whole numbers) and truth values in which a JSON document is not what it was.

    Keys may be added. A number, truth value or null may stand where 0.1.0 had its text.
    """
    if isinstance(then, str) and not isinstance(now, str) and is_value_of(now, then):
        return []
    if type(now) is not type(then):
        return [f"{where}: {type(now).__name__}, was {type(then).__name__}"]
    if isinstance(then, dict):
        gone = then.keys() - now.keys()
        return [f"{where}: {sorted(gone)}"] * bool(gone) + [
            each for key in then.keys() & now.keys() for each in differences(now[key], then[key], f"{where}.{key}")
        ]
    if isinstance(then, list):
        if len(now) != len(then):
            return [f"{where}: {len(now)} entries, were {len(then)}"]
        return [
            each for n, pair in enumerate(zip(now, then, strict=True)) for each in differences(*pair, f"{where}[{n}]")
        ]
    return [f"{where}: {now}, was {then}"] if isinstance(then, int) and now != then else []


def known_then(now: Any, then: Any) -> Any:
    """A JSON document without the keys that its older form lacks."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: known_then(value, then[key]) for key, value in now.items() if key in then}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [known_then(*pair) for pair in zip(now, then, strict=True)]
    return now


def is_value_of(now: Any, text: str) -> bool:
    """Whether a JSON value is what a text said: a number, `true`, or null for what is not known.

    What was not known then may be known now.
    """
    if text in ("", "–", "not run"):
        return now is None or (isinstance(now, float) and text == "")
    try:
        said = json.loads(text.lstrip("+"))
    except ValueError:
        return False
    is_number = isinstance(said, int | float) and isinstance(now, int | float)
    return is_number and isinstance(said, bool) == isinstance(now, bool) and (isinstance(said, float) or now == said)


def texts_of(row: dict[str, Any], then: dict[str, str]) -> dict[str, str]:
    """A row of a report with its values as the texts of 0.1.0.

    That version left out an arm's own peak in a pack on a CPU, and the time of its step alone.
    """
    said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    texts = {name: "" if text == "null" else text for name, text in said.items()}
    return texts | {name: "" for name in ("memory/peak_gib", "time/alone_step_s") if not then[name]}


def sweep_names(file: Path) -> dict[str, Any]:
    """The hash that names a sweep, and those of its arms by label; the only place that imports the package."""
    from side4video.runs.sweep import sweep_key
    from side4video.spec.arm import load_sweep

    sweep = load_sweep(file)
    return {"sweep": sweep_key(sweep), "arms": {arm.title: arm.key for arm in sweep.arms}}
