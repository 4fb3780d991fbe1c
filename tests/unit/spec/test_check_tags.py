"""Tags of a document: names that MLflow takes, and none of the platform's own."""

import pytest

from side4video.core.errors import InputError
from side4video.spec.check_tags import check_tags
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny


def checked(*names):
    check_tags(tiny(tracking={"tags": dict.fromkeys(names, "mine")}).tracking)


def test_every_tag_that_a_run_sets_itself_is_refused(run):
    """With any of them a document would falsify the record, or hide the run from reports."""
    tags = MLflowStore().prepare().get(run.run_id).tags
    assert len(tags) > 20
    for name in tags:
        with pytest.raises(InputError, match="the platform sets this tag itself"):
            checked(name)


@pytest.mark.parametrize("name", ["", "a/..", "..", ".", "a//b", "/a", "a/", "é", "a=b", "x" * 251, "a\nb", "a/./b"])
def test_what_mlflow_refuses_is_refused_before_a_run_is_made(name, store):
    with pytest.raises(InputError, match="MLflow does not take this name"):
        checked(name)


@pytest.mark.parametrize("name", ["team", "a b", "a.b", "grid/a:1", "x" * 250, "my_state", "..a"])
def test_what_is_taken_comes_back_as_it_is(name, store):
    checked(name)
    run_id = store.prepare().start_run(name="run", key="run", tags={name: "mine"})
    assert store.get(run_id).tags[name] == "mine"
