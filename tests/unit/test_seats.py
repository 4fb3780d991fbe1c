"""Arms that take the seats of an endless pass: each is the arm that it would be alone."""

import itertools
import threading

import pytest
import torch

from seat_passes import ASHA, OPTUNA, assert_equal_alone, assert_same_tensors, seat_sweep, train_pass
from side4video.core.errors import InputError
from side4video.engine.step import train_step
from side4video.engine.student import Student
from side4video.seats import Seats

GRID = {"grid": {"optimization.learning_rate": [1e-3, 3e-3, 1e-4], "method.dim": [64, 128]}}


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A search by Optuna with successive halving: arms join at several epochs, are paused, and go on."""
    folder = tmp_path_factory.mktemp("halved")
    return seat_sweep(optuna=OPTUNA, scheduler=ASHA), train_pass(seat_sweep(optuna=OPTUNA, scheduler=ASHA), folder)


def test_every_arm_of_a_search_equals_itself_alone(halved, tmp_path):
    _, outcome = halved
    firsts = {record.stays[0].first for record in outcome.records.values()}
    paused = [record for record in outcome.records.values() if len(record.stays) > 1]
    assert len(firsts) > 2
    assert paused
    assert_equal_alone(outcome, outcome.records, tmp_path)


def test_seats_are_full_until_nobody_waits(halved):
    _, outcome = halved
    last_join = max(stay.first for record in outcome.records.values() for stay in record.stays[:1])
    assert outcome.seated[:last_join] == [3] * last_join


def test_an_arm_joins_where_another_one_ended(tmp_path):
    outcome = train_pass(seat_sweep(**GRID), tmp_path / "pass")
    assert [record.stays[0].first for record in outcome.records.values()] == [0, 0, 0, 4, 4, 4]
    assert all(record.state == "finished" for record in outcome.records.values())
    assert_equal_alone(outcome, list(outcome.records)[2:5], tmp_path)


class Killed(Exception):
    pass


@pytest.mark.parametrize("reports", range(2, 8))
def test_a_pass_that_was_killed_ends_like_the_undisturbed_one(halved, tmp_path, reports):
    """The process dies after any report: what it goes on from is the newest checkpoint."""
    sweep, undisturbed = halved

    def die(outcome):
        if len(outcome.states) == reports:
            raise Killed

    with pytest.raises(Killed):
        train_pass(sweep, tmp_path / "killed", after=die)
    newest = sorted((tmp_path / "killed").glob("checkpoint-*"), reverse=True)
    resumed = train_pass(sweep, tmp_path / "resumed", resume_from=newest)
    assert resumed.states[-1] == undisturbed.states[-1]
    assert len(resumed.results) >= 1
    for key, tensors in resumed.weights.items():
        assert_same_tensors(tensors, undisturbed.weights[key], str(key))


@pytest.mark.parametrize("checkpoints", [2, 4])
def test_what_a_killed_process_did_not_log_is_logged_by_the_next(halved, tmp_path, checkpoints):
    """It dies with the checkpoint stored and its metrics not: those of arms that are paused or have left, too."""
    sweep, undisturbed = halved

    def die(outcome):
        if len(outcome.checkpoints) == checkpoints:
            raise Killed

    logged = []
    with pytest.raises(Killed):
        train_pass(sweep, tmp_path / "killed", before_log=die, after=logged.append)
    newest = sorted((tmp_path / "killed").glob("checkpoint-*"), reverse=True)
    resumed = train_pass(sweep, tmp_path / "resumed", resume_from=newest)
    for name, metrics in undisturbed.metrics.items():
        both = {**resumed.metrics.get(name, {}), **logged[-1].metrics.get(name, {})}
        assert both == metrics, name
    assert logged[-1].results.keys() | resumed.results.keys() == undisturbed.results.keys()


def test_the_checkpoint_of_another_pass_is_refused(halved, tmp_path):
    _, outcome = halved
    other = seat_sweep({"optimization": {"batch_size": 10}}, optuna=OPTUNA, scheduler=ASHA)
    with pytest.raises(InputError, match="another pass"):
        train_pass(other, tmp_path, resume_from=outcome.checkpoints[-1:])


# ---- broken twins: each promise can fail


def _differs(outcome, tmp_path):
    joined_later = [name for name, record in outcome.records.items() if record.stays[0].first]
    with pytest.raises(AssertionError):
        assert_equal_alone(outcome, joined_later[:1], tmp_path / "alone")


def test_twin_a_clock_that_all_share(monkeypatch, tmp_path):
    """Learning rates and random numbers by the step of the pass."""
    own_step, in_step = Student.own_step, threading.local()

    def shared_step(student, step):
        return step if getattr(in_step, "now", False) else own_step(student, step)

    def step_of_the_pass(*args, **options):
        in_step.now = True
        try:
            return train_step(*args, **options)
        finally:
            in_step.now = False

    monkeypatch.setattr(Student, "own_step", shared_step)
    monkeypatch.setattr("side4video.engine.loop.train_step", step_of_the_pass)
    _differs(train_pass(seat_sweep(**GRID), tmp_path / "pass"), tmp_path)


def test_twin_random_numbers_in_the_order_of_calls(monkeypatch, tmp_path):
    """Dropout that draws from one stream of the process in place of the student's own."""
    calls = itertools.count()
    monkeypatch.setattr("side4video.engine.student._seed", lambda *_: torch.default_generator.manual_seed(next(calls)))
    sweep = seat_sweep({"task": {"kind": "recognition", "dropout": 0.5}}, **GRID)
    _differs(train_pass(sweep, tmp_path / "pass"), tmp_path)


def test_twin_statistics_left_over_in_a_seat(monkeypatch, tmp_path):
    """A new arm takes over the batch norm statistics of the arm that was built before it."""
    build, before = Seats._build, {}

    def build_with_leftovers(seats, joining):
        student = build(seats, joining)
        buffers = {name: each for name, each in student.module.named_buffers() if each.is_floating_point()}
        assert buffers
        for name, buffer in buffers.items():
            buffer.copy_(before.get((name, buffer.shape), buffer))
            before[name, buffer.shape] = buffer
        return student

    monkeypatch.setattr(Seats, "_build", build_with_leftovers)
    _differs(train_pass(seat_sweep(**GRID), tmp_path / "pass"), tmp_path)


# ---- one arm's trouble is its own


def test_an_arm_that_was_added_changes_no_other_one(tmp_path):
    """Asked for while eight train: it joins at the next boundary with a free seat."""
    rates = [1e-3, 3e-3, *(1e-4 * number for number in range(1, 7))]
    grid = {"grid": {"optimization.learning_rate": rates}, "packing": {"seats": 9}}
    plain = train_pass(seat_sweep(**grid), tmp_path / "plain")
    asked = {"id": "1", "add": {"label": "more", "overrides": {"method.dim": 128}}}
    boundaries = itertools.count()
    more = train_pass(seat_sweep(**grid), tmp_path / "more", requests=lambda: [asked] if next(boundaries) else [])
    (added,) = (record for record in more.records.values() if record.arm["label"] == "more")
    assert added.stays[0].first == 1
    assert added.state == "finished"
    assert len({name for name, _ in plain.weights}) == 8
    for key, tensors in plain.weights.items():
        assert_same_tensors(tensors, more.weights[key], str(key))
    assert_equal_alone(more, [added.name], tmp_path)


def _fail_in_step(monkeypatch, name_of, at):
    accumulate = Student.accumulate

    def fails(student, *args, **options):
        if student.name == name_of() and options["draw"] == at:
            raise RuntimeError("out of memory, say")
        return accumulate(student, *args, **options)

    monkeypatch.setattr(Student, "accumulate", fails)


@pytest.mark.parametrize("at", [0, 3])
def test_an_arm_that_fails_in_a_step_leaves_alone(monkeypatch, tmp_path, at):
    grid = {"grid": {"optimization.learning_rate": [1e-3, 3e-3, 1e-4, 2e-4]}}
    plain = train_pass(seat_sweep(**grid), tmp_path / "plain")
    broken = list(plain.records)[1]
    _fail_in_step(monkeypatch, lambda: broken, at)
    hit = train_pass(seat_sweep(**grid), tmp_path / "hit")
    assert hit.records[broken].state == "failed"
    assert "out of memory" in hit.records[broken].reason
    assert "out of memory" in hit.results[broken]["reason"]
    for (name, epochs), tensors in plain.weights.items():
        if name in list(plain.records)[:3] and name != broken:
            assert_same_tensors(tensors, hit.weights[name, epochs], name)
    last = list(plain.records)[3]
    assert hit.records[last].stays[0].first == 1 + at // 2, "the seat is taken at the next boundary"
    assert_equal_alone(hit, [last], tmp_path)


def test_if_all_fail_within_an_epoch_the_next_ones_take_over(monkeypatch, tmp_path):
    sweep = seat_sweep(grid={"optimization.learning_rate": [1e-3, 3e-3]}, packing={"seats": 1})
    first = sweep.arms[0].short_key
    _fail_in_step(monkeypatch, lambda: first, 2)
    outcome = train_pass(sweep, tmp_path / "pass")
    assert [record.state for record in outcome.records.values()] == ["failed", "finished"]
    assert list(outcome.records.values())[1].stays[0].first == 2
    assert_equal_alone(outcome, [sweep.arms[1].short_key], tmp_path)


def test_an_arm_that_cannot_be_built_fails_alone(monkeypatch, tmp_path):
    sweep = seat_sweep(grid={"optimization.learning_rate": [1e-3, 3e-3, 1e-4]}, packing={"seats": 2})
    broken = sweep.arms[0].short_key
    build = Seats._build

    def fails(seats, joining):
        if joining.name == broken:
            raise InputError("method.dim", "too wide", allowed="less", fix="less")
        return build(seats, joining)

    monkeypatch.setattr(Seats, "_build", fails)
    outcome = train_pass(sweep, tmp_path / "pass")
    assert [record.state for record in outcome.records.values()] == ["failed", "finished", "finished"]
    assert outcome.results[broken]["reason"].startswith("method.dim: too wide")
    assert [each.stays[0].first for each in outcome.records.values() if each.stays] == [0, 0]


def test_evaluations_come_on_the_arms_own_clock(tmp_path):
    sweep = seat_sweep(
        {"evaluation": {"every_epochs": 2}}, grid={"optimization.learning_rate": [1e-3, 3e-3]}, packing={"seats": 1}
    )
    outcome = train_pass(sweep, tmp_path / "pass")
    second = list(outcome.records.values())[1]
    assert sorted(second.by_epoch) == [2, 4]
    assert_equal_alone(outcome, [second.name], tmp_path)


def test_fractions_of_an_epoch_end_within_the_epoch_of_the_pass(tmp_path):
    """An arm of five steps ends in the middle of an epoch; the next one starts with the next epoch."""
    sweep = seat_sweep(
        {"optimization": {"length": {"epochs": 2.5}}},
        grid={"optimization.learning_rate": [1e-3, 3e-3]},
        packing={"seats": 1},
    )
    outcome = train_pass(sweep, tmp_path / "pass", epochs=3)
    assert [record.stays[0].first for record in outcome.records.values()] == [0, 3]
    assert all(record.state == "finished" for record in outcome.records.values())
    assert_equal_alone(outcome, list(outcome.records), tmp_path)
