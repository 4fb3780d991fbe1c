"""What works on one node and not on several is refused before it is sent, with the way out."""

import pytest

from side4video.apps.jobs.nodes import Node, check_shared_storage, needs_several_nodes
from side4video.core.errors import InputError
from side4video.spec.load import SpecError
from tiny import tiny

HEAD = Node("10.0.0.1", True, {"CPU": 4.0})
WORKER = Node("10.0.0.2", False, {"CPU": 4.0, "GPU": 1.0})
SERVER = {"MLFLOW_TRACKING_URI": "http://10.0.0.1:5000"}
SHARED = {"storage": "/shared/runs"}


def check(nodes=(HEAD, WORKER), environment=SERVER, *, is_sweep=False, **changes):
    return check_shared_storage([tiny(**changes)], nodes, environment, is_sweep=is_sweep)


def test_one_node_keeps_what_it_likes():
    assert check([HEAD], {}) == []


def test_a_shared_folder_and_a_server_are_right():
    assert check(cluster=SHARED) == ["/shared/runs is taken to be the same folder on all nodes"]
    assert check(cluster={"storage": "s3://bucket/runs"}) == []
    assert check(cluster=SHARED, environment={}, tracking={"uri": "http://tracking:5000"})
    assert check(cluster=SHARED, environment={"MLFLOW_TRACKING_URI": "postgresql://db/mlflow"})


@pytest.mark.parametrize("storage", ["", "runs", "./runs"])
def test_checkpoints_that_each_node_would_keep_for_itself(storage):
    with pytest.raises(InputError, match=r"^cluster\.storage: .*allowed: .*fix: --set cluster\.storage=/shared/runs$"):
        check(cluster={"storage": storage})


def test_a_home_that_was_given_is_shared():
    notes = check(environment={**SERVER, "SIDE4VIDEO_HOME": "/shared/home"})
    assert notes == ["/shared/home is taken to be the same folder on all nodes"]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("", "none"),
        ("sqlite:////shared/mlflow.db", "SQLite"),
        ("http://127.0.0.1:5000", "another machine for each"),
        ("http://me:hunter2@localhost:5000", "another machine for each"),
    ],
)
def test_numbers_that_do_not_come_together(uri, found):
    with pytest.raises(InputError, match=rf"^tracking\.uri: .*{found}") as refusal:
        check(cluster=SHARED, environment={"MLFLOW_TRACKING_URI": uri})
    assert "--env MLFLOW_TRACKING_URI=http://10.0.0.1:5000" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_all_mistakes_are_told_and_each_once():
    with pytest.raises(SpecError) as refusal:
        check_shared_storage([tiny(), tiny(seed=1)], [HEAD, WORKER], {}, is_sweep=True)
    assert [problem.where for problem in refusal.value.problems] == ["cluster.storage", "tracking.uri"]
    assert "write `overrides: {cluster.storage: /shared/runs}` in the sweep" in str(refusal.value)


@pytest.mark.parametrize(
    "cluster",
    [
        {"gpus_per_worker": 1},
        {"workers": 2, "cpus_per_worker": 4},
        {"decoding": {"kind": "ray-data", "resource": "decoding"}},
    ],
)
def test_a_cluster_that_must_grow_is_several(cluster):
    assert needs_several_nodes([tiny(cluster=cluster)], [HEAD])
    assert not needs_several_nodes([tiny()], [HEAD])
    with pytest.raises(InputError, match=r"cluster\.storage"):
        check([HEAD], cluster=cluster)


def test_folders_of_clips_are_allowed_and_said():
    dataset = {"kind": "list", "annotations": "/lists/a.csv", "root": "/clips"}
    assert check(cluster=SHARED, data={"dataset": dataset}) == [
        f"{folder} is taken to be the same folder on all nodes" for folder in ("/shared/runs", "/lists/a.csv", "/clips")
    ]
    dataset["root"] = "s3://bucket/clips"
    assert not [note for note in check(cluster=SHARED, data={"dataset": dataset}) if "bucket" in note]
