"""32 arms that write at once, to SQLite, to PostgreSQL and to a server: nothing is lost, nothing locks."""

import pytest

import postgres
from metric_calls import ARMS, METRICS, PROCESSES, free_port, value, write_at_once, wrong_values
from side4video.tracking.mlflow.server import TrackingServer
from side4video.tracking.mlflow.store import MLflowStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPOCHS = 6


@pytest.fixture(params=["file", "postgresql", pytest.param("server", marks=pytest.mark.long)])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    if request.param == "postgresql":
        if word := postgres.missing():
            pytest.skip(word)
        with postgres.postgres_server() as database:
            yield MLflowStore(database.create("many")).prepare()
        return
    own = MLflowStore(f"sqlite:///{tmp_path}/mlflow.db").prepare()
    if request.param == "file":
        yield own
        return
    with TrackingServer(own, port=free_port()) as server:
        yield MLflowStore(server.address).prepare()


def check(store, answers):
    """Everything that was written is there, once, in its order."""
    runs = {int(arm): run for answer in answers for arm, run in answer["runs"].items()}
    assert sorted(runs) == list(range(PROCESSES * ARMS))
    assert len(set(runs.values())) == PROCESSES * ARMS
    for arm, run in runs.items():
        assert wrong_values(store, run, arm, EPOCHS) == 0
        stored = store.get(run)
        assert (stored.status, stored.tags["state"]) == ("FINISHED", "finished")


def test_nothing_is_lost_and_nothing_locks(store, tmp_path):
    answers = write_at_once(store, tmp_path, processes=PROCESSES, arms=ARMS, epochs=EPOCHS)
    assert [answer["left"] for answer in answers] == [0] * PROCESSES
    check(store, answers)
    calls = [each for answer in answers for each in answer["calls"]]
    assert len(calls) == PROCESSES * ARMS * EPOCHS


def test_the_twin_that_loses_a_point_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    store = MLflowStore(f"sqlite:///{tmp_path}/mlflow.db").prepare()
    from side4video.core.metric import Metric

    runs = {arm: store.start_run(name=f"arm-{arm}", key=f"many-{arm}") for arm in range(PROCESSES * ARMS)}
    for arm, run in runs.items():
        points = [
            Metric(key, value(arm, epoch, place), epoch, 1)
            for epoch in range(EPOCHS)
            for place, key in enumerate(METRICS)
        ]
        store.log(run, points[:-1] if arm == 7 else points)
        store.set_tags(run, {"state": "finished"})
        store.finish(run)
    with pytest.raises(AssertionError):
        check(store, [{"runs": {str(arm): run for arm, run in runs.items()}}])
