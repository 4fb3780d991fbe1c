"""Two sweeps on one pass: who asks for seats, whose arms train, who takes the pass over, and what is stored where."""

from contextlib import ExitStack

import pytest
import torch

import sweeps
from seat_passes import ASHA, EPOCHS, LENGTH, OPTUNA, train_alone
from side4video.core.errors import InputError, Interrupted
from side4video.core.progress import SILENT
from side4video.runs import shared_pass
from side4video.runs.endless_pass import passes_of, read_seats, records_of
from side4video.runs.packs import SweepRun
from side4video.runs.sweep import prepare_sweep, run_sweep
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.sweep_logger import open_sweep_logger
from sweeps import document

RATES = {"optimization.learning_rate": [1e-3, 3e-3, 1e-4]}
SHARED = {"packing": {"seats": 2, "share": True}}


def make(name, seed, changes=None, **sweep):
    tracking = {"tracking": {"experiment": f"of-{name}"}}
    whole = document(name, {**LENGTH, **tracking, "seed": seed, **(changes or {})}, **SHARED, **sweep)
    return build_sweep(parse_document(SweepSpec, whole, source=name), whole["base"], f"{name}.yaml")


class At:
    """A progress that acts once, at a boundary of the pass."""

    def __init__(self, boundary, act):
        self.boundary, self.act, self.count = boundary, act, 0

    def report(self, phase, done=0, total=0, **details):
        self.count += phase == "seats"
        if phase == "seats" and self.count == self.boundary:
            self.act()


def train(sweep, progress=SILENT):
    prepared = prepare_sweep(sweep, progress=SILENT)
    return run_sweep(prepared, progress=progress, trainer=LocalTrainer())


class Asking:
    """The command of another sweep, as far as it asks for seats."""

    def __init__(self, sweep):
        self.sweep, self.held = sweep, ExitStack()

    def __call__(self):
        prepared = prepare_sweep(self.sweep, progress=SILENT)
        logger = open_sweep_logger(self.sweep, key=prepared.key, plan={})
        run = SweepRun(logger, self.sweep, prepared.fingerprint, prepared.plan.planner, SILENT, "", None)
        (endless,) = passes_of(self.sweep, done=(), folder="", fingerprint=prepared.fingerprint)
        shared, _ = shared_pass.meet(endless, run)
        told = shared_pass.member_document(endless, run)
        self.held.enter_context(shared.joined(told, closes_at=1e300))


def run_of(name):
    store = MLflowStore().prepare()
    (run,) = store.runs(name=name, tags={"side4video.kind": "sweep"}, all_experiments=True)
    return run


def of(result):
    store, parent = result.sweep_logger.store, result.sweep_logger.parent
    return records_of(store, parent)


def assert_each_arm_equals_itself_alone(result, folder):
    runs = result.sweep_logger.children()
    for arm, record in zip(result.arms, of(result), strict=True):
        run = runs[arm.key]
        alone = train_alone(record, folder / record.name)
        assert run.status == "FINISHED", record
        assert run.metrics["train/steps_trained"] == 2 * EPOCHS
        (folder / f"run-{run.run_id}").mkdir()
        last = alone.weights[record.name, EPOCHS]
        for key, tensor in sweeps.weights(run.run_id, folder / f"run-{run.run_id}").items():
            assert torch.equal(tensor, last[key]), (record.name, key)
        for (key, step), value in alone.metrics[record.name].items():
            if step == 2 * EPOCHS - 1:
                assert run.metrics[key] == value, (record.name, key)


def test_a_sweep_joins_the_pass_of_another_one_and_takes_it_over(tmp_path):
    first = make("shared-a", 301, grid=RATES)
    second = make("shared-b", 301, grid={"method.dim": [64, 128], "optimization.learning_rate": [1e-3]})
    one = train(first, At(2, Asking(second)))
    assert one.is_complete
    store, parent = one.sweep_logger.store, run_of("shared-b").run_id
    states = [record.state for record in records_of(store, parent)]
    assert states == ["finished", "training"], "the first command was to hand the pass over"
    (status,) = read_seats(store, parent).values()
    assert status["others"] == {}
    (status,) = read_seats(store, one.sweep_logger.parent).values()
    assert status["others"] == {"shared-b": 1}
    other = train(second)
    assert other.is_complete
    assert [(each.stays[0].seat, each.stays[0].first) for each in [*of(one), *of(other)]] == [
        *((0, 0), (1, 0), (0, EPOCHS)),
        *((1, EPOCHS), (0, 2 * EPOCHS)),
    ]
    assert_each_arm_equals_itself_alone(one, tmp_path)
    assert_each_arm_equals_itself_alone(other, tmp_path)
    # the arm that both have was trained for each of them, in the experiment of each
    mine, theirs = one.sweep_logger.children(), other.sweep_logger.children()
    (common,) = mine.keys() & theirs.keys()
    assert mine[common].experiment_id != theirs[common].experiment_id


def test_the_pass_of_a_command_that_was_stopped_is_taken_over(tmp_path):
    first = make("stopped-a", 302, grid=RATES)
    second = make("stopped-b", 302, optuna={**OPTUNA, "arms": 4}, scheduler=ASHA)

    def stop():
        Asking(second)()
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted):
        train(first, At(3, stop))
    assert run_of("stopped-a").tags["state"] == "interrupted"
    other = train(second)
    assert other.is_complete
    assert {each.state for each in of(other)} <= {"finished", "stopped"}
    store = other.sweep_logger.store
    mine = records_of(store, run_of("stopped-a").run_id)
    assert [each.state for each in mine].count("waiting") == 1, "nobody joins of a command that is gone"
    one = train(first)
    assert one.is_complete
    assert_each_arm_equals_itself_alone(one, tmp_path)


def test_what_differs_in_data_or_seats_meets_no_one():
    def identity(**changes):
        sweep = make("identity", 303, changes.pop("base", None), grid=RATES)
        store = MLflowStore(changes.get("uri", ""))
        return shared_pass.pass_identity(sweep.base_experiment, changes.get("seats", 2), "data", store)

    assert identity() == identity(base={"method": {"layers": 1}})
    other = [{"data": {"seed": 1}}, {"optimization": {"batch_size": 4}}, {"cluster": {"workers": 2}}]
    other += [{"cluster": {"storage": "/elsewhere"}}, {"backbone": {"layers": 3}}]
    assert len({identity(), identity(seats=3), *(identity(base=each) for each in other)}) == 2 + len(other)


@pytest.mark.parametrize(
    ("packing", "message"),
    [
        ({"seats": 2, "share": "yes"}, "packing.share"),
        ({"seats": 2, "share": True, "aligned": True}, "share and aligned"),
    ],
)
def test_a_wrong_document_is_refused(packing, message):
    whole = document("wrong", grid=RATES, packing=packing)
    with pytest.raises(InputError, match=message):
        parse_document(SweepSpec, whole, source="wrong")


def test_arms_of_two_streams_are_no_shared_pass():
    with pytest.raises(InputError, match="2 different streams"):
        train(make("streams", 304, grid={"data.frames": [2, 4]}))
