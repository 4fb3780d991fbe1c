"""Students of several towers on the same batches: each trains as it would alone, and one tower's tokens go before the
next runs."""

import functools

import pytest
import torch

import toys
from side4video.engine.checkpoint import restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.pack import FrozenPass, Pack
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.frozen_features import features_of_batch
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.methods.linear import LinearSpec
from side4video.models.methods.side4video import Side4VideoSpec

PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)
MEMBERS = {
    "a": ("clip", Side4VideoSpec(layers=2, dim=64)),
    "b": ("dinov3", LinearSpec()),
    "c": ("vjepa2", AttentiveSpec()),
    "d": ("clip", AttentiveSpec()),
}


def student(name, **options):
    family, method = MEMBERS[name]
    return toys.make_student(name, method, family=family, seed=ord(name), **options)


def features_of(family):
    return functools.partial(features_of_batch, toys.toy_tower(family=family))


def make_pack(*students):
    families = dict.fromkeys(MEMBERS[each.name][0] for each in students)
    return Pack(
        [
            FrozenPass(features_of(family), [each for each in students if MEMBERS[each.name][0] == family])
            for family in families
        ]
    )


def train_whole(*students, first_step=0, stream=None):
    train(make_pack(*students), stream or toys.ToyStream(), plan=PLAN, callbacks=[], first_step=first_step)
    return {each.name: toys.weights_of(each) for each in students}


def test_each_trains_as_it_does_alone():
    together = train_whole(*map(student, MEMBERS))
    for name in MEMBERS:
        assert toys.same(train_whole(student(name))[name], together[name]), name


def test_each_goes_on_as_it_would_have(tmp_path):
    undisturbed = train_whole(*map(student, MEMBERS))
    first, resumed = [list(map(student, MEMBERS)) for _ in range(2)]
    pack, timer = make_pack(*first), StepTimer(torch.device("cpu"))
    for step in range(4):
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        train_step(pack, next(iter(toys.ToyStream().batches(epoch, offset))), step=step, plan=PLAN, timer=timer)
    folder = save_checkpoint(tmp_path / "checkpoint", {each.name: each for each in first}, {"next_step": 4})
    for each in resumed:
        restore_student(folder, each)
    again = train_whole(*resumed, first_step=4)
    assert all(toys.same(again[name], undisturbed[name]) for name in MEMBERS)


def test_one_that_stops_takes_its_tower_along():
    """A tower whose students have all ended does not run."""
    students = list(map(student, MEMBERS))
    runs = []

    def counted(family):
        def features(batch, reads):
            runs.append(family)
            return features_of(family)(batch, reads)

        return features

    families = ("clip", "dinov3", "vjepa2")
    pack = Pack([FrozenPass(counted(f), [s for s in students if MEMBERS[s.name][0] == f]) for f in families])
    students[1].stop()
    (batch,) = next(iter(toys.ToyStream().batches(0)))
    train_step(pack, [batch], step=0, plan=PLAN, timer=StepTimer(torch.device("cpu")))
    assert runs == ["clip", "vjepa2"]


def test_a_rehearsal_counts_each_on_its_own_tower():
    students = list(map(student, MEMBERS))
    video = toys.make_batch(0).video_BTCHW
    together = dry_run(make_pack(*students), video)
    for name in MEMBERS:
        assert dry_run(make_pack(student(name)), video) == {name: together[name]}


def test_features_of_students_of_two_towers_are_refused():
    students = list(map(student, MEMBERS))
    with pytest.raises(ValueError, match="the students a, b read 2 towers"):
        make_pack(*students).features_for(students[:2], toys.make_batch(0))


class Collected:
    """A collector that keeps what it is given."""

    def __init__(self):
        self.outputs = []

    def add(self, outputs, targets, batch):
        self.outputs.append(outputs)

    def compute(self, process, *, crops):
        return torch.cat(self.outputs)


class Evaluated:
    def batches(self):
        return iter([toys.make_batch(number) for number in range(3)])


def test_an_evaluation_is_each_students_own(monkeypatch):
    def scores(*students):
        for each in students:
            monkeypatch.setattr(each.task, "collector", lambda *_: Collected())
        return evaluate(make_pack(*students), students, Evaluated(), videos=12)

    together = scores(*map(student, MEMBERS))
    assert all(torch.equal(scores(student(name))[name], together[name]) for name in MEMBERS)
