"""A run that leaves between any two steps and goes on is the run that did not: weights, state, every stored value."""

import json

import pytest
import torch

import stops
from side4video.engine import preemption
from side4video.engine.checkpoint import checkpoints_in
from side4video.engine.preemption import StopRequest

OPTIONS = {
    "average": {"average": {"kind": "moving-average", "decay": 0.9}},
    "fp16": {"precision": "fp16"},
    "accumulated": {"accumulation": 2, "clipping": {"kind": "norm", "value": 0.5}},
}


def same(one, other):
    assert one.tensors.keys() == other.tensors.keys()
    assert [name for name, tensor in one.tensors.items() if not torch.equal(tensor, other.tensors[name])] == []
    assert one.history == other.history
    assert one.keys == other.keys


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    one = stops.Stopped(tmp_path_factory.mktemp("undisturbed"))
    assert one.go()
    return one


@pytest.mark.parametrize("step", range(stops.STEPS))
def test_it_may_leave_after_any_step(step, undisturbed, tmp_path):
    one = stops.Stopped(tmp_path)
    assert not one.go({step: StopRequest.LEAVE})
    assert f"after step {step + 1}:" in one.notes[-1]
    assert one.go()
    assert one.notes[-1] == f"went on from step {step + 1}"
    same(one, undisturbed)


def test_it_may_leave_after_each_step(undisturbed, tmp_path):
    one = stops.Stopped(tmp_path)
    for _ in range(stops.STEPS):
        assert not one.go({0: StopRequest.LEAVE})
    assert one.go()
    same(one, undisturbed)


@pytest.mark.parametrize("option", OPTIONS)
def test_all_that_an_optimizer_has_goes_along(option, tmp_path):
    whole = stops.Stopped(tmp_path / "whole", stops.long_tiny(optimization=OPTIONS[option]))
    assert whole.go()
    one = stops.Stopped(tmp_path / "one", stops.long_tiny(optimization=OPTIONS[option]))
    assert not one.go({2: StopRequest.LEAVE})
    assert not one.go({4: StopRequest.RESTART})
    assert one.go()
    same(one, whole)


def test_checkpoints_within_an_epoch_change_nothing(undisturbed, tmp_path):
    """A time of nothing is over after each step."""
    one = stops.Stopped(tmp_path, stops.long_tiny(cluster={"checkpoint_minutes": 1e-9}))
    assert one.spec.digest() == undisturbed.spec.digest()
    assert one.go()
    assert one.notes == ()
    same(one, undisturbed)


def test_what_was_lost_on_its_way_is_reported_again(undisturbed, tmp_path):
    """A process that stores points may die after a checkpoint is kept, and before its points are."""
    one = stops.Stopped(tmp_path)
    assert not one.go({3: StopRequest.LEAVE}, loses=True)
    assert not one.go({2: StopRequest.LEAVE}, loses=True)
    assert one.go()
    same(one, undisturbed)


# ---- broken twins


def test_twin_that_forgets_the_open_window(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("side4video.engine.metrics_logger.MetricsLogger.restore", lambda self, windows: None)
    one = stops.Stopped(tmp_path)
    assert not one.go({3: StopRequest.LEAVE})
    assert one.go()
    assert one.history != undisturbed.history


def test_twin_that_forgets_the_end_of_an_epoch(undisturbed, tmp_path, monkeypatch):
    pause = preemption.EpochCallback.pause
    monkeypatch.setattr(
        preemption.EpochCallback, "pause", lambda self, info, *, is_open: pause(self, info, is_open=False)
    )
    one = stops.Stopped(tmp_path)
    assert not one.go({stops.STEPS_PER_EPOCH - 1: StopRequest.LEAVE})
    assert one.go()
    assert one.keys != undisturbed.keys


def test_twin_that_reports_nothing_again(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(preemption.EpochCallback, "report_recent", lambda self, state: None)
    one = stops.Stopped(tmp_path)
    assert not one.go({3: StopRequest.LEAVE}, loses=True)
    assert one.go()
    assert one.keys < undisturbed.keys


def test_twin_that_goes_on_a_step_too_far(undisturbed, tmp_path):
    one = stops.Stopped(tmp_path)
    assert not one.go({3: StopRequest.LEAVE})
    from side4video.core.files import CHECKSUM_KEY, with_checksum

    file = checkpoints_in(tmp_path / "kept")[0] / "checkpoint.json"
    state = json.loads(file.read_text())
    state.pop(CHECKSUM_KEY)
    file.write_text(json.dumps(with_checksum({**state, "next_step": state["next_step"] + 1})))
    assert one.go()
    assert not torch.equal(one.tensors["weights/head.1.weight"], undisturbed.tensors["weights/head.1.weight"])
