"""Sweeps with seats, through the run store: runs of arms, what is recorded, going on, requests, the quote."""

import json

import pytest

from seat_passes import ASHA, EPOCHS, LENGTH, OPTUNA
from side4video.arm_search.records import title_of
from side4video.core.errors import InputError, Interrupted
from side4video.core.progress import SILENT
from side4video.reports.sweep_report import report_sweep
from side4video.runs.endless_pass import read_seats, records_of
from side4video.runs.stored_run import find_finished
from side4video.runs.sweep import prepare_sweep, run_sweep
from side4video.runs.sweep_requests import add_arm, stop_arm
from side4video.runs.sweep_status import pass_status
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tracking.run_store import artifact_text
from side4video.tracking.stores import open_store
from sweeps import document

GRID = {"grid": {"optimization.learning_rate": [1e-3, 3e-3, 1e-4, 2e-4]}, "packing": {"seats": 2}}


def make(name, changes=None, **sweep):
    whole = document(name, {**LENGTH, **(changes or {})}, **sweep)
    return build_sweep(parse_document(SweepSpec, whole, source=name), whole["base"], f"{name}.yaml")


class Noted:
    """A progress that may interrupt the command, or ask the sweep for something, at a boundary of the pass."""

    def __init__(self, at=None, act=None):
        self.at, self.act, self.boundaries = at, act, 0

    def report(self, phase, done=0, total=0, **details):
        if phase == "seats":
            self.boundaries += 1
            if self.boundaries == self.at:
                self.act()


def train(sweep, progress=SILENT):
    prepared = prepare_sweep(sweep, progress=SILENT)
    return prepared, run_sweep(prepared, progress=progress, trainer=LocalTrainer())


def interrupt():
    raise Interrupted("asked to stop")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    sweep = make("seats-grid", {"seed": 71}, **GRID)
    return sweep, *train(sweep)


def runs_of(result):
    return result.sweep_logger.children()


def test_each_arm_has_a_run_with_the_epoch_at_which_it_joined(finished):
    sweep, _, result = finished
    runs = runs_of(result)
    assert result.is_complete
    assert {run.status for run in runs.values()} == {"FINISHED"}
    firsts = [runs[arm.key].params.get("data.first_epoch", "0") for arm in sweep.arms]
    assert firsts == ["0", "0", str(EPOCHS), str(EPOCHS)]
    for arm in sweep.arms:
        run = runs[arm.key]
        assert (run.tags["side4video.digest"] == arm.key) == (run.params.get("data.first_epoch", "0") == "0")
        assert run.metrics["train/steps_trained"] == 2 * EPOCHS


def test_an_arm_that_joined_is_found_by_its_own_experiment(finished, tmp_path):
    sweep, _, result = finished
    store = result.sweep_logger.store
    run = find_finished(store, runs_of(result)[sweep.arms[3].key].run_id, tmp_path)
    assert run.spec.data.first_epoch == EPOCHS


def test_the_same_command_again_trains_nothing(finished):
    sweep, _, _ = finished
    again, second = train(make("seats-grid", {"seed": 71}, **GRID), Noted(1, interrupt))
    assert len(again.completed) == len(sweep.arms)
    assert second.is_complete


def test_the_report_says_who_joined_when(finished, tmp_path):
    _, prepared, result = finished
    rows, files, notes = report_sweep(prepared, result, str(tmp_path))
    assert [row.runs[0].state for row in rows] == ["finished"] * 4
    assert any("2 arms joined a pass that was running" in note for note in notes)
    assert any("4 arms took 2 seats of an endless pass" in note for note in notes)
    assert "seats.png" in {file.name for file in files}
    assert "Who had which seat" in (tmp_path / "comparison.html").read_text()


@pytest.mark.parametrize("at", [3])
def test_a_sweep_that_was_interrupted_ends_like_the_undisturbed_one(at):
    ways = {"optuna": {**OPTUNA, "arms": 5}, "scheduler": ASHA, "packing": {"seats": 2}}
    plain = train(make(f"seats-plain-{at}", {"seed": 72 + at}, **ways))[1]
    with pytest.raises(Interrupted):
        train(make(f"seats-cut-{at}", {"seed": 72 + at}, **ways), Noted(at, interrupt))
    whole = train(make(f"seats-cut-{at}", {"seed": 72 + at}, **ways))[1]

    def outcome(result):
        store, parent = result.sweep_logger.store, result.sweep_logger.parent
        records = {record.name: (record.state, record.epochs, record.values) for record in records_of(store, parent)}
        stored = {
            key: (run.status, run.tags["state"], run.metrics["eval/top1"]) for key, run in runs_of(result).items()
        }
        return records, stored

    assert outcome(whole) == outcome(plain)


def test_arms_are_added_and_stopped_while_the_sweep_trains():
    sweep = make("seats-asked", {"seed": 77}, **GRID)
    store = open_store(sweep.base_experiment.tracking).prepare()

    def ask():
        (parent,) = store.runs(name="seats-asked", tags={"side4video.kind": "sweep"})
        add_arm(store, parent.run_id, sweep, {"method.dim": 192}, label="wide")
        stop_arm(store, parent.run_id, sweep, title_of(records_of(store, parent.run_id)[0]))
        with pytest.raises(InputError, match="is no arm"):
            stop_arm(store, parent.run_id, sweep, "nobody")
        with pytest.raises(InputError, match="needs clips"):
            add_arm(store, parent.run_id, sweep, {"optimization.batch_size": 4}, label="")
        with pytest.raises(InputError, match="multiples of 64"):
            add_arm(store, parent.run_id, sweep, {"method.dim": 96}, label="")

    result = train(sweep, Noted(2, ask))[1]
    records = records_of(store, result.sweep_logger.parent)
    assert [record.state for record in records] == ["stopped", *["finished"] * 4]
    assert [arm.title for arm in result.arms][-1] == "wide"
    assert runs_of(result)[result.arms[-1].key].metrics["eval/top1"] >= 0
    with pytest.raises(InputError, match="has this arm already"):
        add_arm(store, result.sweep_logger.parent, sweep, {"method.dim": 192}, label="again")
    # to a sweep that has ended: the same command takes it
    add_arm(store, result.sweep_logger.parent, sweep, {"method.layers": 1}, label="late")
    later = train(make("seats-asked", {"seed": 77}, **GRID))[1]
    assert later.is_complete
    assert records_of(store, later.sweep_logger.parent)[-1].arm["label"] == "late"


def test_the_status_of_a_pass_is_what_its_record_says(finished):
    sweep, _, result = finished
    store, parent = result.sweep_logger.store, result.sweep_logger.parent
    (state,) = read_seats(store, parent).values()
    found = pass_status(state, {key[:16]: run for key, run in runs_of(result).items()}, metric=sweep.spec.metric)
    assert found["number_of_seats"] == 2
    assert found["counts"] == {"finished": 4}
    assert found["epoch"] == 2 * EPOCHS
    assert found["seats"] == found["waiting"] == []
    assert found["clips_per_s"] > 0


def test_the_quote_is_in_the_stored_plan(finished):
    _, _, result = finished
    plan = json.loads(artifact_text(result.sweep_logger.store, result.sweep_logger.parent, "plan.json"))
    assert plan["search"]["with_seats"]["pass_epochs"] == 2 * EPOCHS
    assert plan["search"]["alone"]["pass_epochs"] == 4 * EPOCHS


def test_what_cannot_share_a_pass_is_refused_in_one_line():
    with pytest.raises(InputError, match="different streams of clips"):
        train(make("seats-two", optuna=None, grid={"data.frames": [2, 4]}, scheduler=ASHA, packing={"seats": 2}))
    with pytest.raises(InputError, match="changes the backbone"):
        train(make("seats-full", grid={"method": [{"kind": "full"}, {"kind": "linear"}]}, packing={"seats": 2}))
    cached = {"features": {"kind": "cached", "folder": "x", "views": 1}}
    with pytest.raises(InputError, match="cached"):
        train(make("seats-cached", cached, **GRID))
