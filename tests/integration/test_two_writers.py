"""Two commands at once on one run or sweep, as `benchmarks/two_at_once.py` calls every pair ten times."""

import json
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations_with_replacement

import pytest

import forked_command
import home_record
import pair_faults
import two_at_once
from side4video.core.metric import Metric
from side4video.tracking.mlflow.store import MLflowStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GROUPS = [
    ["run --go-on + run --go-on", "run --resume + export"],
    pytest.param(["run --resume + run --resume", "run --go-on + data make"], marks=pytest.mark.long),
    pytest.param(["sweep + sweep", "sweep + report --out"], marks=pytest.mark.long),
]


@pytest.mark.parametrize("pairs", GROUPS, ids=lambda pairs: ", ".join(pairs))
def test_one_works_and_the_other_says_so(pairs):
    command = [sys.executable, two_at_once.__file__, "--times", "2"]
    command += [word for name in pairs for word in ("--only", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {study["pair"]: study for study in map(json.loads, done.stdout.splitlines()[-len(pairs) :])}
    assert set(found) == set(pairs)
    for study in found.values():
        assert (study["cases"], study["faults"]) == (2, 0)
    if same := [name for name in pairs if len(set(name.split(" + "))) == 1]:
        assert found[same[0]]["outcomes"].get("one works, the other names it", 0) >= 1


def test_the_stored_result_is_of_all_pairs():
    record = json.loads((two_at_once.RESULTS / "two-at-once.json").read_text())
    pairs = [two_at_once.Pair(*each) for each in combinations_with_replacement(two_at_once.WRITERS, 2)]
    assert [study["pair"] for study in record["pairs"]] == [pair.name for pair in pairs]
    assert [study["shares"] for study in record["pairs"]] == [pair.shares or "home" for pair in pairs]
    assert record["cases"] == sum(sum(study["outcomes"].values()) for study in record["pairs"])
    assert (record["faults"], [each for study in record["pairs"] for each in study["rows_with_faults"]]) == (0, [])


# ---- of the benchmark itself: each fault that it looks for is found when it is planted

HELD = "error: run 1: process 7 on host works on it since 10:00:00 (side4video run a.yaml) · fix: wait"
WON = forked_command.Ended(7, 0, "done", 1.0, hung=False, left_processes=False)
LOST = forked_command.Ended(8, 2, HELD, 1.0, hung=False, left_processes=False)


def test_a_call_without_a_fault_has_none():
    assert pair_faults.faults_of_call(WON, LOST) == pair_faults.faults_of_call(LOST, WON) == []
    assert pair_faults.outcome([WON, LOST]) == "one works, the other names it"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hung": True}, "it hung"),
        ({"left_processes": True}, "it left processes"),
        ({"output": "Traceback (most recent call last)\nKeyError: 1"}, "traceback: KeyError: 1"),
        ({"code": 1}, "exit code 1"),
        ({"output": HELD.replace("process 7", "process 9")}, "it names process 9"),
        ({"output": "error: the database is locked"}, "it does not say who works: error: the database is locked"),
    ],
)
def test_a_fault_of_a_call_is_found(change, fault):
    assert any(each.startswith(fault) for each in pair_faults.faults_of_call(replace(LOST, **change), WON))


def test_a_step_and_a_run_that_are_there_twice_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    home, store = tmp_path, MLflowStore()
    run = store.prepare().start_run(name="tiny", key="a")
    store.log(run, [Metric.now("eval/top1", 0.5, 3)])
    before = home_record.runs_of(home)
    assert [run["doubled"] for runs in before.values() for run in runs] == [[]]
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("INSERT INTO metrics SELECT key, 0.25, timestamp + 1, run_uuid, step, is_nan FROM metrics")
    (found,) = home_record.runs_of(home).values()
    assert found[0]["doubled"] == ["eval/top1 at step 3"]
    store.start_run(name="tiny", key="b")
    assert any("1 and 2" in line for line in home_record.differences(before, home_record.runs_of(home)))


def test_what_is_left_is_found_and_locks_that_stay_are_not(tmp_path):
    named = ("home/runs/a/in-use.lock", "home/outbox/a.jsonl", ".out.lock", "out/.page.html.0a.partial", "tmp/scratch")
    stays = ("home/mlflow.db.lock", "home/outbox/a.lock", "home/data/motion-1.lock", "home/runs/a/run.json")
    for name in (*named, *stays):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert home_record.leftovers(tmp_path) == set(named) - {"out/.page.html.0a.partial"} | {".page.html.0a.partial"}


def test_a_process_that_hangs_is_ended():
    ended = forked_command.ForkedCommand(lambda: time.sleep(60), {}).wait(0.2)
    assert (ended.hung, ended.code, ended.left_processes) == (True, -9, False)
