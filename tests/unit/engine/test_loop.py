"""The ends of epochs: after every whole epoch, and after the last step wherever it falls."""

import pytest
import torch

import toys
from side4video.core.errors import Side4VideoError
from side4video.engine.loop import train
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan
from side4video.run import RunContext, run
from tiny import tiny


class Listener:
    """A hook that notes the ends of epochs, and of which steps it had heard by then."""

    def __init__(self):
        self.ends, self.steps = [], []

    def after_step(self, info):
        self.steps.append((info.epoch, info.step))

    def after_epoch(self, info):
        self.ends.append((info.epoch, info.next_step, info.is_last, len(self.steps)))


ENDS = {
    # steps of three an epoch: epoch, next step, whether it is the last, steps heard of
    1: [(0, 1, True, 1)],
    2: [(0, 2, True, 2)],
    3: [(0, 3, True, 3)],
    5: [(0, 3, False, 3), (1, 5, True, 5)],
    6: [(0, 3, False, 3), (1, 6, True, 6)],
    7: [(0, 3, False, 3), (1, 6, False, 6), (2, 7, True, 7)],
}


@pytest.mark.parametrize("steps", ENDS)
def test_an_epoch_ends_when_it_is_whole_and_when_training_ends(steps):
    listener = Listener()
    plan = Plan(steps=steps, steps_per_epoch=toys.STEPS_PER_EPOCH)
    train(
        toys.make_pack(toys.make_student("a", toys.METHODS["linear"])),
        toys.ToyStream(),
        plan=plan,
        callbacks=[listener],
    )
    assert listener.ends == ENDS[steps]
    assert listener.steps == [(step // toys.STEPS_PER_EPOCH, step) for step in range(steps)]


@pytest.mark.parametrize(("first_step", "ends"), [(4, ENDS[5][1:]), (3, ENDS[5][1:]), (2, ENDS[5])])
def test_a_run_that_goes_on_has_the_ends_that_are_left(first_step, ends):
    listener = Listener()
    plan = Plan(steps=5, steps_per_epoch=toys.STEPS_PER_EPOCH)
    pack = toys.make_pack(toys.make_student("a", toys.METHODS["linear"]))
    train(pack, toys.ToyStream(), plan=plan, callbacks=[listener], first_step=first_step)
    assert [end[:3] for end in listener.ends] == [end[:3] for end in ends]
    assert listener.steps[0] == (first_step // toys.STEPS_PER_EPOCH, first_step)


def test_an_end_that_was_left_open_comes_first():
    listener = Listener()
    plan = Plan(steps=5, steps_per_epoch=toys.STEPS_PER_EPOCH)
    pack = toys.make_pack(toys.make_student("a", toys.METHODS["linear"]))
    train(pack, toys.ToyStream(), plan=plan, callbacks=[listener], first_step=3, is_open=True)
    assert listener.ends == [(0, 3, False, 0), (1, 5, True, 2)]


@pytest.mark.parametrize("every_epochs", [1, 2])
def test_a_length_in_steps_that_cuts_the_last_epoch_short_is_evaluated_at_its_end(every_epochs, tmp_path):
    """As the recipes of EVL have it: 50 000 steps end anywhere in an epoch."""
    reports = []
    spec = tiny(
        method={"kind": "linear"},
        optimization={"batch_size": 4, "length": {"epochs": 0, "steps": 7}},  # five steps an epoch
        evaluation={"every_epochs": every_epochs},
    )
    with torch.random.fork_rng(devices=[]):
        result = run({"a": spec}, RunContext(ProcessGroup(), tmp_path, reports.append))["a"]
    assert [(report.next_step, report.is_last) for report in reports] == [(5, False), (7, True)]
    evaluated = [sorted({each.step for each in report.metrics["a"] if each.key == "eval/top1"}) for report in reports]
    assert evaluated == [[4] if every_epochs == 1 else [], [6]]
    assert reports[-1].latest["a"]["eval/epoch"] == 1
    assert result.metrics["eval/epoch"] == 1


class Stops(Listener):
    """Stops students at an epoch's end."""

    def __init__(self, epoch, *students):
        super().__init__()
        self.epoch, self.students = epoch, students

    def after_epoch(self, info):
        super().after_epoch(info)
        for student in self.students if info.epoch == self.epoch else ():
            student.stop()


def test_whom_a_hook_stops_trains_no_further_and_the_others_do():
    students = [toys.make_student(name, toys.METHODS["linear"]) for name in "ab"]
    hook = Stops(0, students[0])
    train(toys.make_pack(*students), toys.ToyStream(), plan=Plan(steps=5, steps_per_epoch=3), callbacks=[hook])
    assert [student.state for student in students] == ["stopped", "training"]
    assert len(hook.steps) == 5
    assert not toys.same(toys.weights_of(students[0]), toys.weights_of(students[1]))


def test_when_all_are_stopped_training_is_over():
    students = [toys.make_student(name, toys.METHODS["linear"]) for name in "ab"]
    hook = Stops(0, *students)
    train(toys.make_pack(*students), toys.ToyStream(), plan=Plan(steps=5, steps_per_epoch=3), callbacks=[hook])
    assert [end[:3] for end in hook.ends] == [(0, 3, False)]


def diverging(name):
    student = toys.make_student(name, toys.METHODS["linear"])
    with torch.no_grad():
        next(student.module.head.parameters()).fill_(torch.inf)
    return student


def test_a_student_without_finite_gradients_is_stopped_alone():
    bad, good, listener = diverging("bad"), toys.make_student("good", toys.METHODS["linear"]), Listener()
    train(toys.make_pack(bad, good), toys.ToyStream(), plan=Plan(steps=3, steps_per_epoch=3), callbacks=[listener])
    assert (bad.state, good.state) == ("diverged", "training")
    assert len(listener.steps) == 3


def test_when_all_diverge_the_run_says_so():
    with pytest.raises(Side4VideoError, match="of bad are not finite"):
        train(toys.make_pack(diverging("bad")), toys.ToyStream(), plan=Plan(steps=3, steps_per_epoch=3), callbacks=[])


def test_an_evaluation_says_what_memory_the_student_took(tmp_path):
    spec = tiny(method={"kind": "linear"}, optimization={"length": {"epochs": 1}})
    with torch.random.fork_rng(devices=[]):
        metrics = run({"a": spec}, RunContext(ProcessGroup(), tmp_path, lambda report: None))["a"].metrics
    assert 0 < metrics["memory/peak_gib"] < metrics["memory/process_gib"]


@pytest.mark.parametrize(
    ("what", "steps"), [("weights", 1), ("weights", 3), ("loss", 1), ("loss", 20), ("average", 2), ("average", 20)]
)
def test_a_run_that_ends_with_what_is_not_finite_has_failed(what, steps):
    """In fp16 the scaler skips the steps whose gradients are not finite: 50 of them are no divergence yet."""
    bad = toys.make_student("bad", toys.METHODS["linear"], precision="fp16")
    good = toys.make_student("good", toys.METHODS["linear"], precision="fp16")
    with torch.no_grad():
        if what == "weights":
            next(bad.module.head.parameters())[0, 0] = torch.nan
        elif what == "loss":
            next(bad.module.head.parameters()).fill_(1e38)
        else:
            bad.average = torch.optim.swa_utils.AveragedModel(
                bad.module, avg_fn=lambda average, *_: average * torch.nan
            )
    train(toys.make_pack(bad, good), toys.ToyStream(), plan=Plan(steps=steps, steps_per_epoch=3), callbacks=[])
    assert (bad.state, good.state) == ("diverged", "training")
