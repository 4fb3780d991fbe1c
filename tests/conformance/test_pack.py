"""A student in a pack is the same student, bit by bit, as alone; and twins that share something are caught."""

import dataclasses

import pytest
import torch

import toys
from side4video.core.errors import InputError
from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.step import Plan, dry_run
from side4video.spec.check import check_pack
from tiny import tiny

PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)


class Stop:
    """Stops a student after an epoch."""

    def __init__(self, student, epoch):
        self.student, self.epoch = student, epoch

    def after_step(self, info: StepInfo):
        pass

    def after_epoch(self, info: EpochInfo):
        if info.epoch == self.epoch:
            self.student.stop()


def arms():
    return [
        toys.make_student("one", toys.METHODS["side4video"], seed=1),
        toys.make_student("two", toys.METHODS["side4video-authors"], seed=2, learning_rate=1e-3, weight_decay=0.0),
        toys.make_student("three", toys.METHODS["linear"], seed=3),
    ]


def run(*students, callbacks=(), parts=1):
    pack = toys.make_pack(*students)
    dry_run(pack, toys.make_batch(9).video_BTCHW)
    train(pack, toys.ToyStream(parts), plan=PLAN, callbacks=list(callbacks))
    return {student.name: toys.weights_of(student) for student in students}


def test_packed_equals_alone():
    packed = run(*arms())
    for student in arms():
        assert toys.same(run(student)[student.name], packed[student.name]), student.name


def test_methods_that_show_the_tower_other_frames_do_not_pack():
    with pytest.raises(ValueError, match="cannot share a pass"):
        run(toys.make_student("one", toys.METHODS["dist"]), toys.make_student("two", toys.METHODS["linear"]))
    one, two = tiny(method={"kind": "linear"}), tiny(method={"kind": "dist", "dim": 64})
    with pytest.raises(InputError, match="two: method: its tower sees one frame of 2, and that of one one of 1"):
        check_pack({"one": one, "two": two})
    check_pack({"one": two, "two": two})


def test_order_in_the_pack_does_not_matter():
    packed, turned = run(*arms()), run(*reversed(arms()))
    for name in packed:
        assert toys.same(packed[name], turned[name])


def test_stopping_one_leaves_the_others_and_frees_it():
    students = arms()
    stopped = run(*students, callbacks=[Stop(students[1], 0)])
    untouched = run(*arms())
    assert toys.same(stopped["one"], untouched["one"])
    assert toys.same(stopped["three"], untouched["three"])
    assert not toys.same(stopped["two"], untouched["two"])
    assert students[1].state == "stopped"
    assert not students[1].optimizer.state


def test_nan_in_one_leaves_the_others():
    students = arms()
    with torch.no_grad():
        students[1].module.head[1].weight.fill_(float("nan"))
    broken = run(*students)
    untouched = run(*arms())
    assert toys.same(broken["one"], untouched["one"])
    assert toys.same(broken["three"], untouched["three"])
    assert [student.state for student in students] == ["training", "diverged", "training"]


def test_all_diverged_is_an_error():
    from side4video.core.errors import Side4VideoError

    student = arms()[0]
    with torch.no_grad():
        student.module.head[1].bias.fill_(float("inf"))
    with pytest.raises(Side4VideoError, match="training diverged"):
        run(student)


# ---- broken twins: each shares one thing between students, and must be caught by the property above


def test_twin_with_a_shared_random_stream(monkeypatch):
    def accumulate(self, features, labels, *, clips, synchronize, draw, is_last):
        outputs = self.replica(features)  # dropout draws from the process's generator
        loss = self.task.loss(outputs, labels)
        (loss / clips).backward()
        return loss.detach()

    monkeypatch.setattr(toys.Student, "accumulate", accumulate)
    torch.manual_seed(0)
    packed = run(*arms())
    torch.manual_seed(0)
    assert not toys.same(run(arms()[1])["two"], packed["two"])


def test_twin_with_a_shared_norm():
    students = arms()
    students[1].module.network.final_norm = students[0].module.network.final_norm
    packed = run(*students)
    assert not toys.same(run(arms()[0])["one"], packed["one"])


def half_precision_arms():
    """Arms with loss scalers; the gradients of the second one soon overflow fp16."""
    one, two = (
        toys.make_student(name, toys.METHODS["side4video"], seed=seed, precision="fp16")
        for name, seed in (("one", 1), ("two", 2))
    )
    with torch.no_grad():
        two.module.head[1].weight.mul_(3e4)
    return [one, two]


def test_a_scaler_that_steps_back_is_one_students_own():
    packed = half_precision_arms()
    trained = run(*packed)
    assert packed[0].scaler.get_scale() != packed[1].scaler.get_scale()
    for student in half_precision_arms():
        assert toys.same(run(student)[student.name], trained[student.name]), student.name


def test_twin_with_a_shared_scaler():
    students = half_precision_arms()
    students[0].scaler = students[1].scaler
    packed = run(*students)
    assert not toys.same(run(half_precision_arms()[0])["one"], packed["one"])


def test_twin_whose_frozen_tokens_are_changed():
    students = arms()
    network = students[0].module.network
    forward = network.forward

    def spoil(features):
        for tokens in features.tokens.values():
            tokens.mul_(1.01)
        return forward(features)

    network.forward = spoil
    packed = run(*students)
    assert not toys.same(run(arms()[1])["two"], packed["two"])


# ---- what else the loop promises


def test_rehearsal_leaves_no_trace():
    first, second = arms()[0], arms()[0]
    dry_run(toys.make_pack(first), toys.make_batch(1).video_BTCHW)
    assert toys.same(toys.weights_of(first), toys.weights_of(second))
    assert not first.optimizer.state
    assert all(parameter.grad is None for parameter in first.module.parameters())


def test_same_seed_same_weights_other_seed_other_weights():
    method = toys.METHODS["side4video"]
    one, again = run(toys.make_student("a", method, seed=4)), run(toys.make_student("a", method, seed=4))
    other = run(toys.make_student("a", method, seed=5))
    assert toys.same(one["a"], again["a"])
    assert not toys.same(one["a"], other["a"])


def test_accumulated_parts_add_up_to_the_whole_batch():
    """Without batch norm and dropout, two parts of four equal one of eight."""
    method = toys.METHODS["linear"]

    class Whole(toys.ToyStream):
        def batches(self, epoch, first_step=0):
            for parts in toys.ToyStream(2).batches(epoch, first_step):
                joined = {
                    field.name: torch.cat([getattr(part, field.name) for part in parts])
                    for field in dataclasses.fields(parts[0])
                }
                yield [toys.ToyBatch(**joined)]

    results = []
    for stream in (Whole(), toys.ToyStream(2)):
        student = toys.make_student("a", method)
        student.module.head[0].p = 0.0
        train(toys.make_pack(student), stream, plan=PLAN, callbacks=[])
        results.append(toys.weights_of(student))
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-5, atol=1e-7)


def test_students_activations_are_held_one_at_a_time():
    """Nine students hold, beside the shared tokens, no more than one of them."""
    from side4video.engine.memory import measure_held

    def most_held(count):
        students = [toys.make_student(str(n), toys.METHODS["side4video"], seed=n) for n in range(count)]
        pack = toys.make_pack(*students)
        batch = toys.make_batch(0)
        features = pack.features_for(students, batch)
        shared = sum(tokens.untyped_storage().nbytes() for tokens in features.tokens.values())
        held = []
        for student in students:
            with measure_held(student.module.parameters()) as each:
                loss = student.task.loss(student.module(features), batch.labels_B)
            loss.backward()
            held.append(each.total)
            assert not any(tensor.grad_fn for tensor in features.tokens.values())
        return max(held), shared

    one, shared = most_held(1)
    nine, shared_by_nine = most_held(9)
    assert nine == one
    assert shared == shared_by_nine


def test_evaluation_counts_each_video_once_over_views():
    student = toys.make_student("a", toys.METHODS["side4video"])
    pack = toys.make_pack(student)
    batch = toys.make_batch(3, size=6)
    batch.indices_B = torch.tensor([0, 0, 1, 1, 3, 3])
    batch.labels_B = torch.tensor([0, 0, 1, 1, 2, 2])

    class Stream:
        def batches(self):
            yield batch

    result = evaluate(pack, [student], Stream(), videos=5)["a"]
    assert result.indices_V.tolist() == [0, 1, 3]
    assert result.views == 2
    student.module.eval()
    with torch.no_grad():
        scores = student.module(pack.features_for([student], batch)).softmax(-1).double()
    torch.testing.assert_close(torch.from_numpy(result.scores_VC), scores.view(3, 2, -1).mean(1))


def test_twin_that_counts_a_padded_video_twice_is_seen():
    """A sampler that pads the last batch by repeating a video changes the views, and so is noticed."""
    student = toys.make_student("a", toys.METHODS["linear"])
    pack = toys.make_pack(student)
    batch = toys.make_batch(3, size=3)
    padded = toys.make_batch(3, size=3)
    padded.indices_B = torch.tensor([0, 1, 1])

    class Stream:
        def __init__(self, batch):
            self.batch = batch

        def batches(self):
            yield self.batch

    right = evaluate(pack, [student], Stream(batch), videos=3)["a"]
    wrong = evaluate(pack, [student], Stream(padded), videos=3)["a"]
    assert (right.views, len(right.indices_V)) == (1, 3)
    assert (wrong.views, len(wrong.indices_V)) != (1, 3)
