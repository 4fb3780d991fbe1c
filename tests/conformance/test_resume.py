"""A run that was stopped anywhere and resumed ends with the weights of one that was not."""

import pytest
import torch

import toys
from side4video.core.errors import InputError
from side4video.engine.checkpoint import (
    CheckpointError,
    load_tensors,
    read_state,
    restore_student,
    save_checkpoint,
    save_tensors,
)
from side4video.engine.loop import train
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer

WHOLE = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)
OPTIONS = {
    "plain": {},
    "average": {"average": {"kind": "moving-average", "decay": 0.9}},
    "clipped": {"clipping": {"kind": "norm", "value": 0.5}},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "authors": {"learning_rate_updates": "authors", "batch_norm_learning_rate": "over-accumulation"},
}


def train_until(one, last_step):
    """Train the first steps of the whole plan, then leave, as a killed process does."""
    timer = StepTimer(torch.device("cpu"))
    pack, stream = toys.make_pack(one), toys.ToyStream()
    for step in range(last_step):
        epoch, offset = divmod(step, WHOLE.steps_per_epoch)
        train_step(pack, next(iter(stream.batches(epoch, offset))), step=step, plan=WHOLE, timer=timer)


def student(**options):
    return toys.make_student("a", toys.METHODS["side4video"], **options)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("option", OPTIONS)
def test_resumed_equals_undisturbed(option, stop_after, tmp_path):
    undisturbed = student(**OPTIONS[option])
    train(toys.make_pack(undisturbed), toys.ToyStream(), plan=WHOLE, callbacks=[])

    first = student(**OPTIONS[option])
    train_until(first, stop_after)
    folder = save_checkpoint(tmp_path / "checkpoint", {"a": first}, {"next_step": stop_after})
    resumed = student(**OPTIONS[option])
    restore_student(folder, resumed)
    train(
        toys.make_pack(resumed), toys.ToyStream(), plan=WHOLE, callbacks=[], first_step=read_state(folder)["next_step"]
    )
    assert toys.same(toys.weights_of(undisturbed), toys.weights_of(resumed))
    if resumed.average is not None:
        assert toys.same(dict(undisturbed.average.state_dict()), dict(resumed.average.state_dict()))


@pytest.mark.parametrize("method", toys.METHODS)
def test_every_method_resumes(method, tmp_path):
    """Dropout and dropped paths, tensors without a dimension, a tower that is trained: nothing is left behind."""

    def one():
        return toys.make_student("a", toys.METHODS[method], **OPTIONS["average"])

    undisturbed, first, resumed = one(), one(), one()
    train(toys.make_pack(undisturbed), toys.ToyStream(), plan=WHOLE, callbacks=[])
    train_until(first, 4)
    restore_student(save_checkpoint(tmp_path / "checkpoint", {"a": first}, {"next_step": 4}), resumed)
    train(toys.make_pack(resumed), toys.ToyStream(), plan=WHOLE, callbacks=[], first_step=4)
    assert not toys.same(toys.weights_of(first), toys.weights_of(resumed))
    assert toys.same(toys.weights_of(undisturbed), toys.weights_of(resumed))
    assert toys.same(dict(undisturbed.average.state_dict()), dict(resumed.average.state_dict()))


def test_twin_that_forgets_the_optimizer(tmp_path):
    undisturbed, first, resumed = student(), student(), student()
    train(toys.make_pack(undisturbed), toys.ToyStream(), plan=WHOLE, callbacks=[])
    train_until(first, 3)
    folder = save_checkpoint(tmp_path / "checkpoint", {"a": first}, {"next_step": 3})
    restore_student(folder, resumed)
    resumed.optimizer.state.clear()
    train(toys.make_pack(resumed), toys.ToyStream(), plan=WHOLE, callbacks=[], first_step=3)
    assert not toys.same(toys.weights_of(undisturbed), toys.weights_of(resumed))


def test_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "checkpoint", {"a": student(seed=1)}, {"next_step": 1})
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("side4video.engine.checkpoint._write_json", full_disk)
    with pytest.raises(CheckpointError, match="no space"):
        save_checkpoint(tmp_path / "checkpoint", {"a": student(seed=2)}, {"next_step": 2})
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_only_what_is_trained_is_written(tmp_path):
    one = student()
    folder = save_checkpoint(tmp_path / "checkpoint", {"a": one}, {"next_step": 0})
    tower = sum(parameter.numel() for parameter in toys.toy_tower().parameters()) * 4
    assert (folder / "a" / "weights.safetensors").stat().st_size < 4 * one.trainable_parameters + tower


def test_weights_of_another_spec_are_refused(tmp_path):
    save_tensors(student().module, tmp_path / "weights.safetensors")
    other = toys.make_student("a", toys.METHODS["side4video-authors"])
    with pytest.raises(InputError, match="do not fit this spec"):
        load_tensors(other.module, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="no such file"):
        load_tensors(other.module, tmp_path / "missing.safetensors")


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        read_state(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99"):
        read_state(tmp_path)
