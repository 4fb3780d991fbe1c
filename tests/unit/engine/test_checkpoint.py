"""What fp16 needs across an interruption: the scale that was found, and how long the student has been looking."""

import pytest
import torch

import toys
from side4video.engine.checkpoint import load_tensors, restore_student, save_checkpoint, save_tensors
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.engine.student import MAX_SKIPPED_STEPS

PLAN = Plan(steps=100, steps_per_epoch=100)
TOO_LARGE = 2.0**60
"""No gradient is finite at this scale."""


def student(precision="fp16"):
    return toys.make_student("a", toys.METHODS["linear"], precision=precision, length={"steps": 100})


def steps(one, first, last):
    """Train, and hear of each step's gradients as the loop does."""
    for step in range(first, last):
        batch = [toys.make_batch(0, step)]
        result = train_step(toys.make_pack(one), batch, step=step, plan=PLAN, timer=StepTimer(torch.device("cpu")))
        one.check_gradient_norm(float(result.gradient_norms["a"]))


def gone_on_from(one, folder):
    resumed = student(one.spec.precision)
    restore_student(save_checkpoint(folder / "checkpoint", {"a": one}, {"next_step": 0}), resumed)
    return resumed


def test_the_scale_that_was_found_is_gone_on_with(tmp_path):
    one = student()
    one.scaler.load_state_dict({**one.scaler.state_dict(), "scale": TOO_LARGE})
    steps(one, 0, 3)
    assert one.scaler.get_scale() == TOO_LARGE / 2**3  # each step that was skipped has halved it
    resumed = gone_on_from(one, tmp_path)
    assert resumed.scaler.state_dict() == one.scaler.state_dict()
    steps(resumed, 3, 5)
    assert resumed.scaler.get_scale() == TOO_LARGE / 2**5


def test_good_steps_towards_a_larger_scale_are_gone_on_with(tmp_path):
    one = student()
    one.scaler.load_state_dict({**one.scaler.state_dict(), "scale": 1.0, "growth_interval": 5})
    steps(one, 0, 3)
    resumed = gone_on_from(one, tmp_path)
    assert resumed.scaler.get_scale() == 1.0
    steps(resumed, 3, 5)
    assert resumed.scaler.get_scale() == 2.0


@pytest.mark.parametrize("before", [1, 30, MAX_SKIPPED_STEPS])
def test_steps_that_were_skipped_before_count_after(before, tmp_path):
    """One that finds no scale ends, however often it is interrupted."""
    one = student()
    for _ in range(before):
        one.check_gradient_norm(float("inf"))
    resumed = gone_on_from(one, tmp_path)
    assert resumed.skipped == before
    for _ in range(MAX_SKIPPED_STEPS - before):
        resumed.check_gradient_norm(float("nan"))
    assert resumed.state == "training"
    resumed.check_gradient_norm(float("inf"))
    assert resumed.state == "diverged"


def test_a_good_step_begins_the_count_anew(tmp_path):
    one = student()
    one.check_gradient_norm(float("inf"))
    one.check_gradient_norm(1.0)
    assert gone_on_from(one, tmp_path).skipped == 0


def test_without_a_scaler_the_first_bad_step_is_the_last():
    one = student("fp32")
    one.check_gradient_norm(1.0)
    assert one.state == "training"
    one.check_gradient_norm(float("nan"))
    assert one.state == "diverged"


@pytest.mark.parametrize("state", ["stopped", "diverged"])
def test_who_has_ended_stays_so(state, tmp_path):
    one = student()
    steps(one, 0, 1)
    one.stop(state)
    resumed = gone_on_from(one, tmp_path)
    assert resumed.state == state
    assert not resumed.is_training
    assert toys.same(toys.weights_of(one), toys.weights_of(resumed))


def test_the_average_and_files_beside_go_along(tmp_path):
    averaged = {"average": {"kind": "moving-average", "decay": 0.5}, "length": {"steps": 100}}
    one, resumed = (toys.make_student("a", toys.METHODS["linear"], **averaged) for _ in range(2))
    steps(one, 0, 3)
    (tmp_path / "kept" / "a").mkdir(parents=True)
    (tmp_path / "kept" / "a" / "predictions.csv").write_text("index\n")
    folder = save_checkpoint(tmp_path / "new" / "one", {"a": one}, {"next_step": 3}, beside=tmp_path / "kept")
    assert (folder / "a" / "predictions.csv").read_text() == "index\n"
    assert (folder / "a" / "average.safetensors").exists()
    restore_student(folder, resumed)
    assert toys.same(dict(one.average.state_dict()), dict(resumed.average.state_dict()))
    without = save_checkpoint(tmp_path / "two", {"a": student("fp32")}, {"next_step": 0})
    assert not (without / "a" / "average.safetensors").exists()


def test_weights_may_be_written_into_a_folder_that_is_not_there(tmp_path):
    one, other = student("fp32"), toys.make_student("a", toys.METHODS["linear"], seed=1)
    save_tensors(one.module, tmp_path / "far" / "away" / "weights.safetensors")
    load_tensors(other.module, tmp_path / "far" / "away" / "weights.safetensors")
    assert toys.same(toys.weights_of(one), toys.weights_of(other))
