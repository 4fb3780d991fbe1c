import math
import os
import pickle
import subprocess
import sys
from collections import Counter

import pytest

from side4video.core.errors import InputError
from side4video.core.metric import MAX_VALUE, Metric
from side4video.spec.tracking import MLflowTrackingSpec
from side4video.tracking.mlflow.connection import TrackingError
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.stores import open_store


def metric(key, value, step):
    return Metric(key, value, step, 1_700_000_000_000 + step)


def run_of(store, key="k", **more):
    return store.start_run(name=more.pop("name", "a run"), key=key, **more)


# ---- the store


def test_prepare_makes_everything_in_the_platforms_folder(store, home, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_id = run_of(store)
    store.log_text(run_id, "x", "a.txt")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert store.get(run_id).artifact_uri.startswith(f"file://{home}/artifacts/")
    assert (home / "artifacts" / run_id / "artifacts" / "a.txt").exists()


def test_another_experiment_in_the_same_store(store):
    other = open_store(MLflowTrackingSpec(experiment="other"))
    assert other.experiment_id != store.experiment_id
    assert MLflowStore(experiment="other").experiment_id == other.experiment_id


def test_a_deleted_experiment_is_one_line_with_the_way_out(store):
    store._client.delete_experiment(store.experiment_id)
    with pytest.raises(InputError, match=r"deleted.*restore"):
        MLflowStore().prepare()


@pytest.mark.parametrize("content", [b"this is not a database, it is text\n" * 100, None], ids=["text", "folder"])
def test_what_is_no_database_is_said_at_once(home, content):
    file = home / "mlflow.db"
    file.write_bytes(content) if content else file.mkdir()
    with pytest.raises(InputError, match=r"^tracking\.uri: .*not a SQLite database"):
        MLflowStore().prepare()


def test_a_missing_driver_names_the_package(home, monkeypatch):
    monkeypatch.setattr("side4video.spec.check_database_driver.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the Python package psycopg,.*pip install 'side4video\[postgresql\]'"):
        MLflowStore("postgresql://me:hunter2@127.0.0.1:1/db").prepare()


def test_a_store_travels_to_another_process_and_names_the_same_place(store, home, monkeypatch):
    other = MLflowStore(experiment="other").prepare()
    sent = pickle.dumps(other)
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(home / "of another process"))
    copy = pickle.loads(sent)  # noqa: S301 our own
    assert (copy.uri, copy.experiment) == (store.uri, "other")
    assert run_of(copy, "travelled") == run_of(other, "travelled")


def test_passwords_are_not_in_the_stores_own_text(home):
    assert "hunter2" not in repr(MLflowStore("http://me:hunter2@host"))


RACE = """
import os, sys, traceback
from side4video.tracking.mlflow.connection import configure_mlflow
configure_mlflow()
import mlflow.store.tracking.sqlalchemy_store  # which takes seconds, and each process would import it
from side4video.tracking.mlflow.store import MLflowStore

def race():
    store = MLflowStore()
    print(store.experiment_id, store.start_run(name="one", key="same"), flush=True)

children = []
for _ in range(4):
    children.append(os.fork())
    if not children[-1]:
        code = 1
        try:
            race()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


@pytest.mark.slow
def test_four_processes_on_a_fresh_store_share_one_experiment_and_one_run(home):
    ended = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 4
    assert len(set(lines)) == 1
    assert ended.stderr == "", "MLflow's own noise reached the terminal"
    assert len(MLflowStore().runs()) == 1


# ---- runs by key


def test_an_unfinished_run_is_continued(store):
    first = run_of(store, tags={"side": "a"}, params={"lr": 1})
    for status in ("FAILED", "KILLED"):
        store.finish(first, status)
        assert store.get(first).status == status
        assert run_of(MLflowStore(), tags={"side": "b"}, params={"lr": 1}) == first
        assert store.get(first).status == "RUNNING"
    assert store.get(first).tags["side"] == "b"
    assert len(store.runs()) == 1


def test_a_finished_run_is_not_touched_unless_asked(store):
    first = run_of(store)
    store.finish(first)
    before = store.get(first)
    second = run_of(store)
    assert second != first
    assert store.get(first) == before
    store.finish(second)
    assert run_of(store, reopen_finished=True) == second
    assert store.get(second).status == "RUNNING"


def test_another_key_or_no_resuming_makes_another_run(store):
    first = run_of(store)
    assert run_of(store, "other") != first
    assert run_of(store, resume=False) != first


def test_children_belong_to_their_parent(store):
    parent = run_of(store, "sweep")
    child = run_of(store, "arm", parent=parent)
    found = store.runs(f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [run.run_id for run in found] == [child]


def test_finish_says_when_and_how(store):
    run_id = run_of(store)
    assert store.get(run_id).end_ms == 0
    store.finish(run_id)
    run = store.get(run_id)
    assert run.status == "FINISHED"
    assert run.end_ms >= run.start_ms > 0


# ---- metrics


def test_metrics_come_back_with_their_steps_and_odd_values(store):
    run_id = run_of(store)
    odd = [metric("odd", math.nan, 0), metric("odd", math.inf, 1)]
    store.log(run_id, [metric("train/loss", 2.0, 1), metric("train/loss", 1.0, 2), *odd])
    assert store.history(run_id, "train/loss") == [metric("train/loss", 2.0, 1), metric("train/loss", 1.0, 2)]
    assert math.isnan(store.history(run_id, "odd")[0].value)
    assert store.history(run_id, "odd")[1].value == MAX_VALUE
    assert store.get(run_id).metrics["train/loss"] == 1.0


def test_more_metrics_than_a_request_holds(store):
    run_id = run_of(store)
    store.log(run_id, [metric("train/loss", step / 7, step) for step in range(1701)])
    assert [m.step for m in store.history(run_id, "train/loss")] == list(range(1701))


@pytest.mark.parametrize("how", ["same process", "new process", "resumed"])
def test_a_metric_is_neither_lost_nor_doubled_when_steps_are_reported_again(store, how):
    run_id = run_of(store)
    store.log(run_id, [metric("train/loss", 1.0, step) for step in range(4)])
    store.log(run_id, [metric("eval/top1", 0.5, 3)])
    writer = store if how == "same process" else MLflowStore()
    if how == "resumed":
        store.finish(run_id, "FAILED")
        assert run_of(writer) == run_id
    # The worker died after step 3, resumed from step 2, and measured again, at another time of day.
    again = [Metric("train/loss", 1.0, step, 1_800_000_000_000) for step in range(2, 6)]
    writer.log(run_id, [*again, Metric("eval/top1", 0.5, 3, 1_800_000_000_000), metric("eval/top1", 0.6, 5)])
    assert Counter(m.step for m in store.history(run_id, "train/loss")) == Counter(range(6))
    assert [(m.step, m.value) for m in store.history(run_id, "eval/top1")] == [(3, 0.5), (5, 0.6)]


def test_a_step_given_twice_in_one_call_is_stored_once(store):
    run_id = run_of(store)
    store.log(run_id, [metric("a", 1.0, 0), Metric("a", 2.0, 0, 5)])
    assert [m.value for m in store.history(run_id, "a")] == [1.0]


def test_what_the_store_refuses_is_an_error_and_does_not_wait(store, home):
    with pytest.raises(TrackingError, match="not found"):
        store.log("0" * 32, [metric("a", 1.0, 0)])
    assert not list((home / "outbox").glob("*.jsonl"))


# ---- parameters, tags, artifacts


def test_parameters_are_flat_and_secrets_hidden(store):
    run_id = run_of(store, params={"method": {"dim": 320}, "tracking": {"uri": "http://me:pw@host", "token": "abc"}})
    params = store.get(run_id).params
    assert params["method.dim"] == "320"
    assert params["tracking.token"] == "[hidden]"
    assert "pw" not in params["tracking.uri"]
    assert store.get(run_id).artifact_uri
    assert not store._client.list_artifacts(run_id)


def test_a_long_value_is_cut_and_whole_in_an_artifact(store, tmp_path):
    text = "é" * 7000
    run_id = run_of(store, params={"long": text, **{f"p{i}": "x" * 5000 for i in range(150)}})
    params = store.get(run_id).params
    assert len(params) == 151
    assert len(params["long"]) == 6000
    assert params["long"].endswith("…")
    assert text in store.download(run_id, "params.json", tmp_path).read_text(encoding="utf-8")


def test_a_parameter_keeps_its_first_value_and_says_so(store, caplog):
    run_id = run_of(store, params={"lr": 1, "dim": 2})
    assert run_of(store, params={"lr": 3, "dim": 2, "new": 4}) == run_id
    assert store.get(run_id).params == {"lr": "1", "dim": "2", "new": "4"}
    assert "parameter lr keeps its first value" in caplog.text
    assert "dim" not in caplog.text


def test_tags_with_odd_names_and_secrets(store):
    run_id = run_of(store, tags={"a b@c": "1", "password": "pw", "long": "x" * 9000})
    tags = store.get(run_id).tags
    assert tags["a b_c"] == "1"
    assert tags["password"] == "[hidden]"
    assert len(tags["long"]) == 8000


def test_artifacts_come_back_under_their_names(store, tmp_path):
    run_id = run_of(store)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.json").write_text("{}")
    (tmp_path / "p.csv").write_text("a,b\n")
    store.log_text(run_id, "see http://me:pw@host", "notes/a.txt")
    store.log_json(run_id, {"token": "abc", "x": math.inf}, "spec.json")
    store.log_file(run_id, tmp_path / "p.csv")
    store.log_file(run_id, tmp_path / "p.csv", "predictions/test.csv")
    store.log_file(run_id, tmp_path / "checkpoint", "last")
    read = {name: store.download(run_id, name, tmp_path / "back").read_text() for name in ("notes/a.txt", "spec.json")}
    assert read["notes/a.txt"] == "see http://[hidden]@host"
    assert "abc" not in read["spec.json"]
    assert store.download(run_id, "predictions/test.csv", tmp_path / "back").read_text() == "a,b\n"
    assert store.download(run_id, "p.csv", tmp_path / "back").read_text() == "a,b\n"
    assert (store.download(run_id, "last", tmp_path / "back") / "state.json").read_text() == "{}"


def test_missing_files_and_artifacts_are_said_plainly(store, tmp_path):
    run_id = run_of(store)
    store.log_text(run_id, "x", "a.txt")
    with pytest.raises(FileNotFoundError):
        store.log_file(run_id, tmp_path / "absent")
    with pytest.raises(InputError, match=r"no artifact `b\.txt` · allowed: a\.txt"):
        store.download(run_id, "b.txt", tmp_path)


# ---- finding


def test_find_by_id_prefix_and_newest_name(store):
    first, second = run_of(store, "1", name="probe"), run_of(store, "2", name="probe")
    elsewhere = run_of(MLflowStore(experiment="other"), "3", name="it's \\ 100%")
    assert store.find(first).run_id == first
    assert store.find(first[:8]).run_id == first
    assert store.find(first[:8].upper()).run_id == first
    assert store.find("probe").run_id == second
    assert store.find("it's \\ 100%").run_id == elsewhere


def test_find_names_near_ones(store):
    run_of(store, name="vitb16-light")
    with pytest.raises(InputError, match=r"^run `vitb16-ligth`: .*allowed: vitb16-light"):
        store.find("vitb16-ligth")


@pytest.mark.parametrize("wanted", ["", "abc", "%", "____", "0000", "a'b\"c"])
def test_find_takes_nothing_for_a_run_that_is_none(store, wanted):
    run_of(store)
    with pytest.raises(InputError):
        store.find(wanted)


def test_find_refuses_an_ambiguous_prefix(store, monkeypatch):
    monkeypatch.setattr("side4video.tracking.mlflow.search.MIN_PREFIX", 1)
    starts = Counter(run_of(store, str(i))[0] for i in range(17))  # 16 hexadecimal digits: two ids begin alike
    shared = starts.most_common(1)[0][0]
    with pytest.raises(InputError, match=r"several runs have an id that starts so · allowed: \w{12}, \w{12}"):
        store.find(shared)


def test_runs_are_filtered_and_newest_first(store):
    ids = [run_of(store, str(i)) for i in range(3)]
    for value, run_id in enumerate(ids):
        store.log(run_id, [metric("eval/top1", value / 10, 0)])
    assert {run.run_id for run in store.runs("metrics.`eval/top1` > 0.05")} == set(ids[1:])
    assert len(store.runs(limit=2)) == 2


def test_a_wrong_filter_is_an_error_of_one_line(store):
    with pytest.raises(TrackingError) as caught:
        store.runs("nonsense ===")
    assert "\n" not in str(caught.value)


# ---- manners


def test_importing_the_store_does_not_load_mlflow():
    code = (
        "import sys, side4video.tracking.mlflow.store, side4video.tracking.mlflow.server; "
        "print('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_settings_of_the_user_stay(monkeypatch):
    from side4video.tracking.mlflow.connection import configure_mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    configure_mlflow()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize("asks_anew", [True, False], ids=["asks anew", "twin that does not"])
def test_what_another_process_has_stored_is_not_stored_twice(store, asks_anew):
    """On Ray the driver begins and closes a record that another process feeds."""
    run_id = run_of(store, "fed")
    store.log(run_id, [Metric("plan/peak", 1.0, 0, 1)])
    pickle.loads(pickle.dumps(store)).log(run_id, [Metric("memory/peak", 2.0, 79, 5)])  # noqa: S301 our own
    if asks_anew:
        store.forget(run_id)
    store.log(run_id, [Metric("memory/peak", 2.0, 79, 6)])
    assert len(store.history(run_id, "memory/peak")) == (1 if asks_anew else 2)
