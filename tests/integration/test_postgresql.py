"""Runs and sweeps in a real PostgreSQL server: first use, resuming, a server that is killed, and the password."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from sqlalchemy import MetaData, create_engine

import postgres
from metric_calls import free_port
from side4video.tracking.mlflow import postgresql
from side4video.tracking.mlflow.store import MLflowStore
from slow_steps import SLOWLY
from tiny import DOCUMENT, merged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "a server can be started"),
]

PASSWORD = "planted-Pa55word-7c1e"
EPOCHS, STEPS_PER_EPOCH = 6, 5


@pytest.fixture(scope="module")
def server():
    with postgres.postgres_server(password=PASSWORD) as server:
        yield server


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose home and temporary files are its own."""
    for name, folder in {"SIDE4VIDEO_HOME": "home", "TMPDIR": "tmp"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def experiment(**changes):
    length = {"batch_size": 4, "length": {"epochs": EPOCHS}}
    return merged(DOCUMENT, {"name": "posted", "optimization": length, **changes})


def write(place, document, name="spec.yaml"):
    (place / name).write_text(yaml.safe_dump(document))
    return str(place / name)


def start(place, *words, uri="", pause=0.0, **environment):
    command = [sys.executable, "-c", SLOWLY, str(pause), *words]
    variables = {**os.environ, **({"MLFLOW_TRACKING_URI": uri} if uri else {}), **environment}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=variables, cwd=place, **streams)


def call(place, *words, code=0, **options):
    """Output and errors of a command that ends with this exit code, or with any (None)."""
    process = start(place, *words, **options)
    out, errors = process.communicate(timeout=300)
    assert code is None or process.returncode == code, errors
    assert "Traceback" not in errors, errors
    return out, errors


def wait_for(condition, *, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def checkpoints(place):
    return [folder for folder in (place / "home" / "runs").rglob("checkpoint-*") if folder.suffix != ".partial"]


def values(store, run):
    """Every value of a run that is not a time or a memory, by metric and step; none is there twice."""
    found = {}
    for key in run.metrics:
        history = store.history(run.run_id, key)
        assert len({each.step for each in history}) == len(history), key
        if not key.startswith(("time/", "memory/", "gpu/", "system/", "sweep/", "plan/")):
            found[key] = [(each.step, each.value) for each in history]
    return found


def table(uri):
    """The values of all runs of a store, by name and seed."""
    store = MLflowStore(uri).prepare()
    runs = store.runs()
    found = {f"{run.name} {run.params.get('method.layers')} {run.params.get('data.frames')}": run for run in runs}
    assert len(found) == len(runs)
    return {name: (run.status, run.tags["state"], values(store, run)) for name, run in found.items()}


# ---- one run


def test_a_run_is_interrupted_resumed_and_reported(server, place):
    """Without a password in the address: libpq takes it from a variable."""
    server.create("resumed")
    uri, spec = server.uri("resumed", password=False), write(place, experiment())
    process = start(place, "run", spec, "--local", uri=uri, pause=0.2, PGPASSWORD=PASSWORD)
    wait_for(lambda: checkpoints(place))
    process.kill()
    process.communicate()
    out, _ = call(place, "run", spec, "--local", "--resume", "--json", uri=uri, PGPASSWORD=PASSWORD)
    answer = json.loads(out)
    (name,) = found = table(server.uri("resumed"))
    status, state, metrics = found[name]
    assert (status, state) == ("FINISHED", "finished")
    ends = [STEPS_PER_EPOCH * (epoch + 1) - 1 for epoch in range(EPOCHS)]
    assert [step for step, _ in metrics["eval/top1"]] == ends
    assert [step for step, _ in metrics["train/loss"]] == ends
    call(place, "report", "run", answer["run_id"][:8], uri=uri, PGPASSWORD=PASSWORD)
    out, _ = call(place, "evaluate", "posted", "--json", uri=uri, PGPASSWORD=PASSWORD)
    assert answer["run_id"] in out


def test_a_command_that_starts_during_an_outage_says_so_in_seconds(server, place):
    uri, spec = server.create("away"), write(place, experiment())
    call(place, "run", spec, "--local", uri=uri)
    server.stop()
    try:
        began = time.monotonic()
        _, errors = call(place, "run", spec, "--local", "--go-on", uri=uri, code=2)
        assert time.monotonic() - began < 30
    finally:
        server.start()
    last = errors.splitlines()[-1]
    assert "Connection refused" in last
    assert last.startswith("error: tracking.uri: postgresql://[hidden]@")
    assert "· fix: check the address" in last
    assert PASSWORD not in errors


def move(source, target):
    """Call the script of the page about clusters."""
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
    script = page.partition("### Move a store from SQLite")[2].partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-c", script, source, postgresql.with_limits(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(engine):
    """All rows of all tables, in an order of their own."""
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select()).mappings()))
            for table in tables.sorted_tables
        }


@pytest.mark.long
def test_a_store_moves_from_sqlite_as_the_page_says(server, place):
    """A sweep's runs are found, read, used and followed by new ones."""
    call(place, "sweep", write(place, sweep_document()), "--local")
    source, target = f"sqlite:///{place}/home/mlflow.db", server.create("moved")
    MLflowStore(target).prepare()
    done = move(source, target)
    assert done.returncode == 0, done.stderr
    assert table(target) == table(source)
    before, after = (rows(create_engine(uri)) for uri in (source, target))
    assert {name: len(found) for name, found in after.items()} == {name: len(before[name]) for name in after}
    out, _ = call(place, "sweep", str(place / "spec.yaml"), "--local", "--json", uri=target)
    assert json.loads(out)
    assert len(table(target)) == 5, "the arms are done already"
    call(place, "run", write(place, experiment(seed=5, name="new"), "new.yaml"), "--local", uri=target)
    assert "FINISHED" in {run.status for run in MLflowStore(target).runs(name="new")}
    MLflowStore(target, "another experiment").prepare()
    again = move(source, target)
    assert again.returncode == 1
    assert "the new database has runs" in again.stderr


# ---- several at once, and a server that is killed


def test_two_commands_on_an_empty_database(server, place):
    """MLflow makes some fifty tables: one does, and the other waits. Each has a home, so that no file lock helps."""
    uri = server.create("empty")
    processes = []
    for seed in (1, 2):
        spec = write(place, experiment(seed=seed, name=f"seed-{seed}"), f"{seed}.yaml")
        home = str(place / "home" / str(seed))
        processes.append(start(place, "run", spec, "--local", uri=uri, SIDE4VIDEO_HOME=home, TMPDIR=f"{place}/tmp"))
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    assert [found[:2] for found in table(uri).values()] == [("FINISHED", "finished")] * 2


def sweep_document():
    grid = {"method.layers": [1, 2], "data.frames": [2, 4]}
    return {"name": "killed", "base": experiment(name="arm"), "grid": grid}


@pytest.mark.long
def test_a_sweep_over_a_server_that_is_killed_again_and_again(server, place, monkeypatch):
    """Two packs with two arms each, which start, train and end while the server comes and goes."""
    sweep = write(place, sweep_document())
    undisturbed, disturbed = server.create("undisturbed"), server.create("disturbed")
    call(place, "sweep", sweep, "--local", uri=undisturbed, SIDE4VIDEO_HOME=f"{place}/home/other")
    process = start(place, "sweep", sweep, "--local", "--json", uri=disturbed, pause=0.15)
    wait_for(lambda: checkpoints(place))
    kills = 0
    ended = threading.Event()
    errors = []
    threading.Thread(target=lambda: (errors.extend(process.communicate()), ended.set()), daemon=True).start()
    while not ended.is_set():
        server.stop()
        kills += 1
        ended.wait(1.5)
        server.start()
        ended.wait(2.0)
    assert process.returncode == 0, errors[1][-3000:]
    assert "Traceback" not in errors[1]
    assert kills >= 4
    assert "is not reachable; writes are queued in" in errors[1]
    monkeypatch.setenv("SIDE4VIDEO_HOME", f"{place}/home")
    MLflowStore(disturbed).prepare()  # what still waits is delivered
    assert list((place / "home" / "outbox").glob("*.jsonl")) == []
    expected, found = table(undisturbed), table(disturbed)
    assert found == expected
    assert len(expected) == 5


# ---- the password


class CommandLines(threading.Thread):
    """Every command line of the machine in which a text is seen, until it is stopped."""

    def __init__(self, text):
        super().__init__(daemon=True)
        self.text, self.seen, self.looks, self.ended = text, set(), 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            self.looks += 1
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    if self.text in line:
                        self.seen.add(line[:200])


def files_with(text, *folders):
    found = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    return [path for path in found if text.encode() in path.read_bytes()]


def stored_text(server, database):
    """All rows of all tables."""
    with server.connect(database) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'TABLE "{name}"').fetchall() for (name,) in names]
    return repr(rows)


@pytest.mark.parametrize("where", [pytest.param("variable", marks=pytest.mark.long), "document"])
def test_the_password_is_nowhere(server, place, where):
    uri = server.create(f"hidden-{where}")
    in_document = {"tracking": {"uri": uri}} if where == "document" else {}
    spec = write(place, experiment(**in_document))
    sweep = write(place, {**sweep_document(), "base": experiment(name="arm", **in_document)}, "sweep.yaml")
    typed = {"uri": uri if where == "variable" else ""}
    lines = CommandLines(PASSWORD)
    lines.start()
    told = []
    port = str(free_port())
    try:
        told += call(place, "validate", spec, "--json", **typed)
        told += call(place, "run", spec, "--local", "--json", **typed)
        told += call(place, "--verbose", "sweep", sweep, "--local", "--json", "--report", f"{place}/report", **typed)
        told += call(place, "report", "sweep", "killed", uri=uri)
        told += call(place, "doctor", "--json", uri=uri, code=None)
        told += call(place, "report", "sweep", "killed", uri=uri.replace("/hidden", "/absent"), code=2)
        serving = start(place, "services", "--port", port, MLFLOW_BACKEND_STORE_URI=uri)
        told += serving.stdout.readline()
        serving.terminate()
        told += serving.communicate(timeout=60)
    finally:
        lines.ended.set()
        lines.join()
    assert lines.looks > 20
    assert lines.seen == set()
    assert PASSWORD not in "".join(told)
    own = {Path(spec), Path(sweep)} if where == "document" else set()
    assert set(files_with(PASSWORD, place)) == own
    assert PASSWORD not in stored_text(server, f"hidden-{where}")


def test_a_planted_password_is_found(server, place):
    """The twin: what `test_the_password_is_nowhere` looks at does show a password that is there."""
    server.create("twin")
    with server.connect("twin") as connection:
        connection.execute("CREATE TABLE words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", (PASSWORD,))
    (place / "home" / "log").write_text(f"postgresql://me:{PASSWORD}@host/db")
    lines = CommandLines(PASSWORD)
    lines.start()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", PASSWORD])
    try:
        wait_for(lambda: lines.seen, seconds=20)
    finally:
        process.kill()
        process.wait()
        lines.ended.set()
    assert [path.name for path in files_with(PASSWORD, place)] == ["log"]
    assert PASSWORD in stored_text(server, "twin")
