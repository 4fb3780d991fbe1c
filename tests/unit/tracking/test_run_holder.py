"""One command works on a run: file locks on one machine, and a tag that is renewed for the others."""

import json
import os
import socket
import threading
import time

import pytest

from side4video.core.errors import InputError
from side4video.tracking.run_holder import (
    describe_holder,
    hold_experiment,
    hold_folder,
    renewing_tag,
    wait_for_other_machine,
)
from side4video.tracking.tags import HOLDER_TAG

QUICKLY = 0.05


@pytest.fixture
def run_id(store):
    return store.prepare().start_run(name="run", key="run")


def held_elsewhere(store, run_id, renewed=0):
    about = {"host": "other.example", "pid": 7, "since": "2026-01-02 03:04:05 UTC", "renewed": renewed}
    store.set_tags(run_id, {HOLDER_TAG: json.dumps(about)})


def test_a_living_command_of_another_machine_is_named(store, run_id):
    held_elsewhere(store, run_id)
    renewing = threading.Timer(QUICKLY, held_elsewhere, (store, run_id, 1))
    run = store.get(run_id)
    renewing.start()
    with pytest.raises(InputError, match=r"process 7 on other\.example works on it since 2026-01-02 03:04:05 UTC"):
        wait_for_other_machine(store, run, renew_seconds=20 * QUICKLY)
    renewing.join()


@pytest.mark.parametrize("end", ["it is silent", "it ends"])
def test_one_that_died_or_ends_lets_go(store, run_id, end):
    held_elsewhere(store, run_id)
    run = store.get(run_id)
    if end == "it ends":
        store.set_tags(run_id, {HOLDER_TAG: ""})
    begin = time.monotonic()
    wait_for_other_machine(store, run, renew_seconds=QUICKLY)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "tag", ["", "no JSON", "[]", "{}", json.dumps({"host": socket.gethostname(), "pid": 1, "since": ""})]
)
def test_what_names_no_other_machine_is_not_waited_for(store, run_id, tag):
    store.set_tags(run_id, {HOLDER_TAG: tag})
    wait_for_other_machine(store, store.get(run_id), renew_seconds=1e6)


def test_the_tag_is_renewed_and_cleared(store, run_id):
    seen = set()
    with renewing_tag(store, {"run": run_id}, renew_seconds=QUICKLY):
        deadline = time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < deadline:
            seen.add(store.get(run_id).tags[HOLDER_TAG])
            time.sleep(QUICKLY)
    assert len(seen) >= 3
    assert {json.loads(each)["host"] for each in seen} == {socket.gethostname()}
    assert store.get(run_id).tags[HOLDER_TAG] == ""


def test_a_folder_is_held_once_and_an_empty_one_goes(tmp_path):
    folder = tmp_path / "runs" / "a"
    with hold_folder(str(folder), "run a"):
        assert folder.is_dir()
        with (
            pytest.raises(InputError, match=r"run a: process \d+ on .* works on it since"),
            hold_folder(str(folder), "run a"),
        ):
            pass
    assert not folder.exists()
    with hold_folder(str(folder), "run a"):
        (folder / "checkpoint").mkdir()
    assert [each.name for each in folder.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("address", ["s3://bucket/runs/a", "gs://bucket/a"])
def test_remote_storage_is_held_on_this_machine(home, address):
    with (
        hold_folder(address, "run a"),
        hold_folder(f"{address}-other", "run b"),
        pytest.raises(InputError, match="run a"),
        hold_folder(address, "run a"),
    ):
        pass
    assert not list((home / "locks").glob("*"))


def test_an_experiment_is_held_in_its_store(store):
    with (
        hold_experiment(store, "digest", "a"),
        hold_experiment(store, "another", "b"),
        pytest.raises(InputError, match="experiment a"),
        hold_experiment(store, "digest", "a"),
    ):
        pass


def test_a_holder_is_named_unless_it_is_a_dead_process_of_this_machine(store, run_id):
    held_elsewhere(store, run_id)
    named = "process 7 on other.example works on it since 2026-01-02 03:04:05 UTC"
    assert describe_holder(store.get(run_id)) == named
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "since": "2026-01-02 03:04:05 UTC"}
    store.set_tags(run_id, {HOLDER_TAG: json.dumps(dead)})
    assert describe_holder(store.get(run_id)) == ""
    with renewing_tag(store, {"run": run_id}):
        assert f"process {os.getpid()} on" in describe_holder(store.get(run_id))
    assert describe_holder(store.get(run_id)) == ""


@pytest.mark.parametrize("text", ["", "no document", "[]", '{"host": "a"}', '{"host": "a", "pid": "b", "since": "c"}'])
def test_a_tag_that_says_nothing_names_nobody(store, run_id, text):
    store.set_tags(run_id, {HOLDER_TAG: text})
    assert describe_holder(store.get(run_id)) == ""
