"""Students of retrieval in a pack are, bit by bit, what each is alone; and a run goes on as if it had not stopped."""

import pytest
import torch

import retrieval_toys
import toys
from side4video.engine.checkpoint import read_state, restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer

PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)


def arms(names=("one", "two", "three", "four")):
    """Other methods, matchings, seeds and rates; weights differ in size, tight matching drops out."""
    made = {
        "one": ("side4video", {"matching": "weighted", "seed": 1}),
        "two": ("side4video-authors", {"matching": "mean", "seed": 2, "pretrained_learning_rate_factor": 1e-2}),
        "three": ("clip4clip-frozen-sequence", {"matching": "tight", "seed": 3, "weight_decay": 0.0}),
        "four": ("zero-shot", {"matching": "zero", "seed": 4}),
    }
    return [retrieval_toys.make_student(name, made[name][0], **made[name][1]) for name in names]


def measured(pack, students):
    stream = retrieval_toys.TestStream()
    found = evaluate(pack, students, stream, videos=stream.videos)
    return {
        name: (each.metrics, each.loss, each.texts_N.tolist(), each.videos_V.tolist()) for name, each in found.items()
    }


def run(*students):
    """Weights and metrics after training."""
    pack = toys.make_pack(*students)
    dry_run(pack, toys.make_batch(9).video_BTCHW)
    train(pack, retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[])
    return {student.name: toys.weights_of(student) for student in students}, measured(pack, students)


def check_packed_equals_alone(students):
    weights, metrics = run(*students)
    for student in arms([student.name for student in students]):
        alone, measured_alone = run(student)
        assert toys.same(alone[student.name], weights[student.name]), student.name
        assert measured_alone[student.name] == metrics[student.name], student.name


def test_packed_equals_alone():
    check_packed_equals_alone(arms())


def test_order_in_the_pack_does_not_matter():
    (weights, metrics), (turned_weights, turned_metrics) = run(*arms()), run(*reversed(arms()))
    assert metrics == turned_metrics
    assert all(toys.same(weights[name], turned_weights[name]) for name in weights)


def test_training_changes_what_is_trained_and_zero_shot_stays():
    students = arms()
    before_metrics = measured(toys.make_pack(*students), students)
    before = {student.name: toys.weights_of(student) for student in students}
    after, after_metrics = run(*arms())
    for name in before:
        assert toys.same(before[name], after[name]) == (name == "four")
        assert (before_metrics[name] == after_metrics[name]) == (name == "four")


def shares_a_text_tower(students):
    students[1].module.network.text.transformer = students[0].module.network.text.transformer


def shares_a_scale(students):
    students[1].module.scale.logarithm = students[0].module.scale.logarithm


def changes_the_class_tokens(students):
    forward = students[0].module.network.forward

    def spoil(features, tokens):
        features.class_BTD.mul_(1.01)
        return forward(features, tokens)

    students[0].module.network.forward = spoil


@pytest.mark.parametrize("spoil", [shares_a_text_tower, shares_a_scale, changes_the_class_tokens])
def test_twins(spoil):
    students = arms(["one", "two"])
    spoil(students)
    with pytest.raises(AssertionError):
        check_packed_equals_alone(students)


def test_a_matching_that_drops_out_draws_from_the_students_own_stream():
    torch.manual_seed(1)
    one, _ = run(*arms(["three"]))
    torch.manual_seed(2)
    other, _ = run(*arms(["three"]))
    assert toys.same(one["three"], other["three"])


# ---- stopped and gone on


def train_until(student, last_step):
    timer, stream = StepTimer(torch.device("cpu")), retrieval_toys.CaptionStream()
    pack = toys.make_pack(student)
    for step in range(last_step):
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        train_step(pack, next(iter(stream.batches(epoch, offset))), step=step, plan=PLAN, timer=timer)


def go_on(student, folder):
    restore_student(folder, student)
    first = read_state(folder)["next_step"]
    train(toys.make_pack(student), retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[], first_step=first)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("name", ["one", "three", "whole"])
def test_resumed_equals_undisturbed(name, stop_after, tmp_path):
    def fresh():
        if name == "whole":
            return retrieval_toys.make_student("whole", "clip4clip", average={"kind": "moving-average", "decay": 0.9})
        return arms([name])[0]

    undisturbed, first, resumed = fresh(), fresh(), fresh()
    train(toys.make_pack(undisturbed), retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[])
    train_until(first, stop_after)
    go_on(resumed, save_checkpoint(tmp_path / "checkpoint", {name: first}, {"next_step": stop_after}))
    assert not toys.same(toys.weights_of(first), toys.weights_of(resumed))
    assert toys.same(toys.weights_of(undisturbed), toys.weights_of(resumed))
    pairs = [measured(toys.make_pack(student), [student]) for student in (undisturbed, resumed)]
    assert pairs[0] == pairs[1]


def test_twin_that_forgets_the_optimizer(tmp_path):
    undisturbed, first, resumed = (arms(["one"])[0] for _ in range(3))
    train(toys.make_pack(undisturbed), retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[])
    train_until(first, 3)
    folder = save_checkpoint(tmp_path / "checkpoint", {"one": first}, {"next_step": 3})
    restore_student(folder, resumed)
    resumed.optimizer.state.clear()
    train(toys.make_pack(resumed), retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[], first_step=3)
    assert not toys.same(toys.weights_of(undisturbed), toys.weights_of(resumed))
