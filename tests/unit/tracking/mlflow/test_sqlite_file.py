"""A local store is made whole or not at all; half-made files and files of other versions of MLflow."""

import hashlib
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest

from side4video.core.errors import InputError
from side4video.tracking.mlflow import compat
from side4video.tracking.mlflow.connection import connect
from side4video.tracking.mlflow.sqlite_file import inspect_file, make_file, sqlite_uri
from side4video.tracking.mlflow.store import MLflowStore

CASES = Path(__file__).resolve().parents[5] / "shared/cases"


def killed_while_making(file, statements, make):
    """Fork a process that makes the tables, and dies at a statement of SQL; whether it was still making them."""
    child = os.fork()
    if child == 0:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        left = statements

        @event.listens_for(Engine, "after_cursor_execute")
        def _die(*_):
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        make(file)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def as_mlflow_makes_it(file):
    compat.make_tables(sqlite_uri(file), f"{file.parent}/artifacts")


def as_we_make_it(file):
    make_file(file, f"{file.parent}/artifacts")


def counted(file):
    """The number of tables in a file."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]


@pytest.mark.parametrize("statements", [1, 40, 300])
def test_a_file_that_a_killed_process_left_is_made_anew(tmp_path, statements, empty_database):
    file = tmp_path / "mlflow.db"
    assert killed_while_making(file, statements, as_mlflow_makes_it)
    assert inspect_file(file).condition in ("missing", "half made")
    connect(sqlite_uri(file))
    assert inspect_file(file).condition == "whole"
    assert counted(file) == counted(empty_database)


@pytest.mark.parametrize("statements", [1, 200])
def test_a_killed_process_leaves_no_half_made_file(tmp_path, statements):
    file = tmp_path / "mlflow.db"
    assert killed_while_making(file, statements, as_we_make_it)
    assert not file.exists()


@pytest.mark.long
def test_killed_at_every_statement(tmp_path, empty_database):
    """Each table, column and index of MLflow's making, one after the other."""
    tables, seen, statements = counted(empty_database), set(), 1
    while True:
        file = tmp_path / f"{statements}.db"
        is_making = killed_while_making(file, statements, as_mlflow_makes_it)
        found = inspect_file(file)
        assert found.condition in ("missing", "half made", "whole"), statements
        seen.add(counted(file) if file.exists() else 0)
        file.unlink(missing_ok=True)
        if not is_making:
            break
        statements += 1
    assert len(seen) > tables // 2
    assert statements > tables


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
def test_the_half_made_file_of_the_cases(tmp_path):
    for file in (CASES / "half-made-db-31-1").iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    store = MLflowStore(sqlite_uri(tmp_path / "mlflow.db")).prepare()
    assert store.runs() == []


def test_a_journal_of_the_half_made_file_is_not_applied_to_the_new_one(tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    connect(sqlite_uri(file))
    assert not (tmp_path / "mlflow.db-journal").exists()
    assert inspect_file(file).condition == "whole"


def set_revision(file, revision, *, mlflow=""):
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        if mlflow:
            database.execute("UPDATE tags SET value = ? WHERE key = 'version/mlflow'", (mlflow,))
        database.commit()


@pytest.mark.parametrize(
    ("revision", "version", "says"),
    [
        (
            "abcdef123456",
            "99.1",
            r"by MLflow 99\.1 \(tables abcdef123456, unknown to it\); MLflow \d",
        ),
        ("abcdef123456", "", "made by another version of MLflow"),
        ("451aebb31d03", "1.0", r"made by MLflow 1\.0 \(tables 451aebb31d03\).* mlflow db upgrade"),
    ],
)
def test_a_file_of_another_mlflow_is_refused_and_stays(store, home, revision, version, says):
    file = home / "mlflow.db"
    store.prepare().start_run(name="a", key="a", tags={"version/mlflow": "3"} if version else {})
    set_revision(file, revision, mlflow=version)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=says):
        MLflowStore().prepare()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_a_newer_file_without_runs_stays_too(store, home):
    set_revision(home / "mlflow.db", "abcdef123456")
    with pytest.raises(InputError, match="made by another version"):
        MLflowStore().prepare()


def test_a_database_of_another_program_stays(tmp_path):
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.execute("INSERT INTO notes VALUES ('mine')")
        database.commit()
    with pytest.raises(InputError, match="another program"):
        connect(sqlite_uri(file))


def test_a_whole_file_is_opened_without_its_lock(store, home):
    """So that a home can be read where nothing can be written."""
    store.prepare()
    (home / "mlflow.db.lock").unlink(missing_ok=True)
    assert MLflowStore().prepare().runs() == []
    assert not (home / "mlflow.db.lock").exists()


@pytest.mark.parametrize("name", ["50%", "a%20b", "q?1", "p#x", "é", "a b", "100%25"])
def test_odd_names_of_folders_stay_what_they_are(tmp_path, name):
    from sqlalchemy import make_url

    file = tmp_path / name / "mlflow.db"
    assert make_url(sqlite_uri(file)).database == str(file)
    assert unquote(sqlite_uri(file)) == f"sqlite:///{file}"
