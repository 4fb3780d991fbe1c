"""Recognition, several labels and several heads on one list: in one pack as alone, resumed as undisturbed."""

import pytest
import torch

import toys
from label_sets import TASKS, make_labelled_list
from side4video.engine.checkpoint import read_state, restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.run import build_pack, build_towers
from side4video.run_streams import EvaluationStream, TrainingStream
from tiny import tiny

STEPS = 5


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return make_labelled_list(tmp_path_factory.mktemp("labelled"))


def specs(listed, *names, **changes):
    data = {"dataset": listed, "augmentation": {"flip_probability": 0.5}}
    return {
        name: tiny(task=TASKS[name], data=data, optimization={"batch_size": 4}, seed=number, **changes)
        for number, name in enumerate(TASKS)
        if name in names
    }


class Training:
    """Students of a pack, and the batches that they train on."""

    def __init__(self, experiments):
        self.base = next(iter(experiments.values()))
        process = ProcessGroup()
        self.students, self.pack = build_pack(experiments, process, build_towers(experiments, process))
        dataset = self.base.data.listed
        self.stream = TrainingStream(
            self.base.data,
            dataset.clips("train"),
            batch_size=4,
            mirrored=dataset.flipped_classes(),
            mirrored_heads=dataset.flipped_heads() or (),
        )
        self.plan = Plan(steps=STEPS, steps_per_epoch=self.stream.steps_per_epoch)

    def run(self, first_step=0):
        train(self.pack, self.stream, plan=self.plan, callbacks=[], first_step=first_step)
        self.stream.close()
        return {name: toys.weights_of(student) for name, student in self.students.items()}

    def run_until(self, last_step):
        timer = StepTimer(torch.device("cpu"))
        for step in range(last_step):
            epoch, offset = divmod(step, self.plan.steps_per_epoch)
            parts = next(iter(self.stream.batches(epoch, offset)))
            train_step(self.pack, parts, step=step, plan=self.plan, timer=timer)
        self.stream.close()

    def evaluate(self):
        clips = self.base.data.listed.clips("test")
        stream = EvaluationStream(self.base.data, clips, batch_size=3)
        found = evaluate(self.pack, list(self.students.values()), stream, videos=len(clips))
        stream.close()
        return {name: each.metrics for name, each in found.items()}


@pytest.fixture(scope="module")
def packed(listed):
    training = Training(specs(listed, *TASKS))
    return training.run(), training.evaluate()


@pytest.mark.parametrize("name", TASKS)
def test_a_student_in_the_pack_is_the_one_alone(listed, packed, name):
    alone = Training(specs(listed, name))
    assert toys.same(alone.run()[name], packed[0][name])
    assert {key: repr(value) for key, value in alone.evaluate()[name].items()} == {
        key: repr(value) for key, value in packed[1][name].items()
    }


@pytest.mark.parametrize("name", ["several", "heads"])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_resumed_equals_undisturbed(listed, packed, name, stop_after, tmp_path):
    first = Training(specs(listed, name))
    first.run_until(stop_after)
    folder = save_checkpoint(tmp_path / "checkpoint", first.students, {"next_step": stop_after})
    resumed = Training(specs(listed, name))
    restore_student(folder, resumed.students[name])
    weights = resumed.run(read_state(folder)["next_step"])[name]
    assert toys.same(weights, packed[0][name])
    assert not toys.same(toys.weights_of(first.students[name]), weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["several", "heads"])
def test_planned_bytes_are_those_of_a_step(listed, name, precision):
    (spec,) = specs(listed, name).values()
    spec = spec.model_copy(update={"optimization": spec.optimization.model_copy(update={"precision": precision})})
    training = Training({name: spec})
    video = torch.zeros((4, spec.data.frames, 3, spec.data.size, spec.data.size), dtype=torch.uint8)
    held = dry_run(training.pack, video)[name]
    training.stream.close()
    meta_model = build_meta_model(spec, classes=len(spec.data.listed.classes()))
    assert plan_memory(spec, meta_model).held_for_backward == held > 0


def test_every_student_learns(packed, listed):
    """A loss that reads no label would leave the classifiers of three tasks where weight decay moves them."""
    for name, training in ((name, Training(specs(listed, name))) for name in TASKS):
        before = toys.weights_of(training.students[name])
        training.stream.close()
        heads = [key for key in before if key.startswith("head.") and key.endswith("bias")]
        assert heads
        assert all(not torch.equal(before[key], packed[0][name][key]) for key in heads)
