"""Weights of a run that trains, was interrupted, or is finished: what is said if there are none."""

import contextlib
import os
import socket

import pytest

from side4video.core.errors import InputError
from side4video.runs import stored_run
from side4video.runs.stored_run import FinishedRun, fetch_weights, find_finished
from side4video.tracking.run_holder import renewing_tag
from side4video.tracking.tags import DIGEST_TAG, RUN_KIND_TAG, SWEEP_KIND, SWEEP_TAG
from tiny import tiny


@pytest.fixture
def run(store):
    run_id = store.prepare().start_run(name="tiny", key="tiny")
    store.log_json(run_id, {}, "spec.json")
    return FinishedRun(run_id, "tiny", run_id, tiny())


def said(store, run, folder, *, is_held=False):
    """What is said of the run while this process trains it, or while nobody does."""
    held = renewing_tag(store, {"tiny": run.run_id}) if is_held else contextlib.nullcontext()
    with held, pytest.raises(InputError) as error:
        fetch_weights(store, run, folder, "best")
    return str(error.value)


def assert_names_who_trains(text, run):
    begin = (
        f"run {run.run_id[:8]}: it is not finished: process {os.getpid()} on {socket.gethostname()} works on it since"
    )
    assert text.startswith(begin), text
    assert text.endswith("fix: wait until it ends")


def test_of_a_run_that_trains_its_process_is_named(store, run, tmp_path):
    assert_names_who_trains(said(store, run, tmp_path, is_held=True), run)


def test_a_message_without_the_process_is_noticed(store, run, tmp_path, monkeypatch):
    """Of the test above: its broken twin."""
    monkeypatch.setattr(stored_run, "_refuse_unfinished", lambda store, run: None)
    with pytest.raises(AssertionError, match="no artifact `checkpoint`"):
        assert_names_who_trains(said(store, run, tmp_path, is_held=True), run)


def test_of_an_interrupted_run_it_is_said_how_to_continue(store, run, tmp_path):
    store.finish(run.run_id, "KILLED")
    assert "it is not finished (killed), so it has no weights · fix: continue it" in said(store, run, tmp_path)


def test_of_a_finished_run_without_weights_it_is_said_what_is_there(store, run, tmp_path):
    store.finish(run.run_id)
    assert "no artifact `checkpoint` · allowed: spec.json" in said(store, run, tmp_path)


def test_weights_that_are_stored_are_given_before_the_run_is_marked_as_finished(store, run, tmp_path):
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    store.log_file(run.run_id, tmp_path / "best.safetensors", "checkpoint/tiny/best.safetensors")
    assert fetch_weights(store, run, tmp_path / "read", "best").read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"it is not finished \(running\)"):
        fetch_weights(store, run, tmp_path / "read", "last")


def test_of_a_sweep_its_arms_are_named(store, tmp_path):
    store.prepare()
    sweep = store.start_run(name="sw", key="sw", tags={RUN_KIND_TAG: SWEEP_KIND, SWEEP_TAG: "k"})
    store.finish(sweep)
    with pytest.raises(InputError, match=r"^sw: it is a sweep, .* · allowed: its arms; none is finished"):
        find_finished(store, "sw", tmp_path)
    arms = [
        store.start_run(name=name, key=name, tags={SWEEP_TAG: "k", DIGEST_TAG: name})
        for name in ("hidden=8", "hidden=16")
    ]
    for arm in arms:
        store.finish(arm)
    for name in ("sw", sweep, sweep[:8]):
        with pytest.raises(InputError, match="it is a sweep") as caught:
            find_finished(store, name, tmp_path)
        assert f"hidden=8 ({arms[0][:8]})" in str(caught.value)
        assert "fix: name one of its arms" in str(caught.value)


def test_a_run_with_the_name_of_a_sweep_is_found(store, tmp_path):
    store.prepare()
    own = store.start_run(name="sw", key="own", tags={DIGEST_TAG: "d"})
    store.log_json(own, tiny().resolved(), "spec.json")
    store.finish(own)
    store.finish(store.start_run(name="sw", key="sw", tags={RUN_KIND_TAG: SWEEP_KIND, SWEEP_TAG: "k"}))
    assert find_finished(store, "sw", tmp_path).run_id == own
