"""With mixed clips every promise of a pack holds: equal to alone, the same after a kill, planned to the byte."""

import pytest
import torch

import kept
import toys
from side4video.core.seeds import derive_seed
from side4video.data.streams.batch import Mixture
from side4video.data.streams.loader import TrainingStream
from side4video.engine.checkpoint import read_state, restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import MetaModel
from side4video.tasks.recognition.classification import Classification
from tiny import tiny

PLAN = Plan(steps=7, steps_per_epoch=5)
BOTH = {"kind": "mixup-or-cutmix"}
DATA = kept.data(augmentation={"mix": BOTH})
NAMES = ("side4video", "evl-without-lookup", "linear")


@pytest.fixture(scope="module")
def clips():
    DATA.dataset.prepare()
    return kept.clips_of(DATA)


def stream(clips, section=DATA):
    return TrainingStream(section, clips.train, batch_size=toys.BATCH, mirrored=clips.mirrored)


def student(name):
    made = toys.make_student(name, toys.METHODS[name], seed=NAMES.index(name), learning_rate=5e-3)
    made.task.mixes_labels = True
    return made


def run(*names, clips, section=DATA):
    """Weights and scores by name."""
    students = [student(name) for name in names]
    pack = toys.make_pack(*students)
    dry_run(pack, toys.make_batch(9).video_BTCHW)
    train(pack, stream(clips, section), plan=PLAN, callbacks=[])
    found = evaluate(pack, students, kept.evaluation_stream(section, clips), videos=len(clips.test))
    return {each.name: (toys.weights_of(each), found[each.name]) for each in students}


@pytest.fixture(scope="module")
def packed(clips):
    return run(*NAMES, clips=clips)


@pytest.mark.parametrize("name", NAMES)
def test_packed_equals_alone(clips, packed, name):
    weights, found = run(name, clips=clips)[name]
    assert toys.same(weights, packed[name][0])
    assert (found.scores_VC == packed[name][1].scores_VC).all()
    assert found.loss == packed[name][1].loss


def test_mixing_is_seen_by_each_student(clips, packed):
    plain = run(*NAMES, clips=clips, section=kept.data())
    for name in NAMES:
        assert not toys.same(plain[name][0], packed[name][0])


def test_twin_whose_students_draw_shares_of_their_own(clips, monkeypatch):
    targets = Classification.targets

    def drawn(self, batch):
        if batch.mixture is not None:
            batch.mixture = Mixture(batch.mixture.other_labels_B, torch.rand(len(batch)))
        return targets(self, batch)

    monkeypatch.setattr(Classification, "targets", drawn)
    torch.manual_seed(0)
    together = run(*NAMES, clips=clips)
    torch.manual_seed(0)
    assert not toys.same(run(NAMES[1], clips=clips)[NAMES[1]][0], together[NAMES[1]][0])


@pytest.mark.parametrize("stop_after", [2, 5, 6])
def test_resumed_equals_undisturbed(clips, packed, tmp_path, stop_after):
    name = NAMES[0]
    first, resumed = student(name), student(name)
    timer, pack = StepTimer(torch.device("cpu")), toys.make_pack(first)
    for step in range(stop_after):
        parts = next(iter(stream(clips).batches(*divmod(step, PLAN.steps_per_epoch))))
        train_step(pack, parts, step=step, plan=PLAN, timer=timer)
    folder = save_checkpoint(tmp_path / "checkpoint", {name: first}, {"next_step": stop_after})
    restore_student(folder, resumed)
    train(toys.make_pack(resumed), stream(clips), plan=PLAN, callbacks=[], first_step=read_state(folder)["next_step"])
    assert toys.same(toys.weights_of(resumed), packed[name][0])


def step_holds(name, clips):
    """Bytes that a real step of mixed clips holds for backward."""
    one = student(name)
    (batch,) = next(iter(stream(clips).batches(0)))
    features = toys.make_pack(one).features_for([one], batch)
    with measure_held(weights_under(one.module)) as seen:
        one.task.loss(one.module(features), one.task.targets(batch))
    return seen.total


def planned(name, *, mixes_labels=True):
    sizes = {"image_size": toys.SIZE, "layers": 4}
    section = {"size": toys.SIZE, "frames": toys.FRAMES, "augmentation": {"mix": BOTH}}
    spec = tiny(backbone=sizes, data=section, optimization={"batch_size": toys.BATCH})
    meta_model = toys.make_skeleton(toys.METHODS[name])
    task = Classification(toys.CLASSES, dropout=0.2, mixes_labels=mixes_labels)
    return plan_memory(spec, MetaModel(meta_model.tower, meta_model.module, meta_model.reads, task)).held_for_backward


@pytest.mark.parametrize("name", NAMES)
def test_a_step_holds_what_was_planned_and_rehearsed(clips, name):
    real = step_holds(name, clips)
    assert planned(name) == real
    assert dry_run(toys.make_pack(student(name)), toys.make_batch(9).video_BTCHW) == {name: real}
    assert planned(name, mixes_labels=False) != real  # the twin that plans clips of one label


def test_the_seed_of_a_student_changes_nothing_of_what_is_mixed(clips):
    one, other = (next(iter(stream(clips).batches(0)))[0] for _ in range(2))
    torch.manual_seed(derive_seed("another"))
    assert torch.equal(one.video_BTCHW, other.video_BTCHW)
    assert torch.equal(one.mixture.shares_B, other.mixture.shares_B)
