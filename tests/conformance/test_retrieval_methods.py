"""What holds for every retrieval method: it can be resumed, its memory is planned, and each weight has a gradient."""

import pytest
import torch

import retrieval_toys
import toys
from side4video.engine.checkpoint import read_state, restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import MetaModel
from side4video.tasks.context import TaskContext
from side4video.tasks.retrieval.spec import RetrievalSpec
from tiny import tiny

PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)
CASES = {
    "clip2video-frozen": "temporal-alignment",
    "clip2video": "temporal-alignment",
    "ts2-net": "query-weighted",
    "cap4video-frozen": "weighted",
    "cap4video-sentences": "plain mean",
    "cap4video": "described",
    "stan-trained": "plain mean",
    "clip4clip": "mean",
    "side4video": "query-weighted",
    "uniadapter-blip": "image-text",
}
PACKABLE = [name for name in CASES if retrieval_toys.METHODS[name].packable]


def make(name, **options):
    return retrieval_toys.make_student(name, name, matching=CASES[name], **options)


def run(*students):
    pack = toys.make_pack(*students)
    train(pack, retrieval_toys.CaptionStream(), plan=PLAN, callbacks=[])
    stream = retrieval_toys.TestStream()
    found = evaluate(pack, list(students), stream, videos=stream.videos)
    return {student.name: (toys.weights_of(student), found[student.name].metrics) for student in students}


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_undisturbed(name, tmp_path):
    undisturbed, first, resumed = (make(name) for _ in range(3))
    expected, metrics = run(undisturbed)[name]
    timer, stream = StepTimer(torch.device("cpu")), retrieval_toys.CaptionStream()
    for step in range(4):
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        parts = next(iter(stream.batches(epoch, offset)))
        train_step(toys.make_pack(first), parts, step=step, plan=PLAN, timer=timer)
    folder = save_checkpoint(tmp_path / "checkpoint", {name: first}, {"next_step": 4})
    restore_student(folder, resumed)
    train(toys.make_pack(resumed), stream, plan=PLAN, callbacks=[], first_step=read_state(folder)["next_step"])
    assert not toys.same(toys.weights_of(first), expected)
    assert toys.same(toys.weights_of(resumed), expected)
    test = retrieval_toys.TestStream()
    assert evaluate(toys.make_pack(resumed), [resumed], test, videos=test.videos)[name].metrics == metrics


def test_packed_equals_alone():
    together = run(*(make(name) for name in PACKABLE))
    for name in PACKABLE:
        alone = run(make(name))[name]
        assert toys.same(alone[0], together[name][0]), name
        assert alone[1] == together[name][1], name


@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_trained_has_a_gradient(name):
    student = make(name)
    batch = retrieval_toys.make_clips(0, captions=[1] * toys.BATCH)
    targets = student.task.targets(batch)
    features = toys.make_pack(student).features_for([student], batch)
    student.task.loss(student.module(features, targets), targets).backward()
    trained = {key: value for key, value in student.module.named_parameters() if value.requires_grad}
    assert [key for key, value in trained.items() if value.grad is None] == []


def planned(name):
    method = retrieval_toys.METHODS[name]
    tower, text = retrieval_toys.towers(method, device="meta")
    context = TaskContext(
        method=method,
        tower=tower,
        frames=toys.FRAMES,
        classes=(),
        encode_texts=lambda texts: None,
        text_tower=text,
    )
    document = {"words": retrieval_toys.WORDS, "matching": retrieval_toys.matching_of(CASES[name])}
    with torch.device("meta"):
        task, module = RetrievalSpec.model_validate(document).assemble(context)
    reads = method.frame_request(tower.shape, frames=toys.FRAMES)
    sizes = {"image_size": toys.SIZE, "layers": 4}
    data = {"size": toys.SIZE, "frames": toys.FRAMES}
    spec = tiny(backbone=sizes, data=data, optimization={"batch_size": toys.BATCH, "precision": "fp32"})
    return plan_memory(spec, MetaModel(tower, module, reads, task)).held_for_backward


@pytest.mark.parametrize("name", CASES)
def test_a_step_holds_what_was_planned(name):
    student = make(name)
    assert planned(name) == dry_run(toys.make_pack(student), toys.make_batch(0).video_BTCHW)[name]


def test_twin_that_holds_more_than_was_planned():
    student = make("clip2video")
    forward = student.module.matching.difference.forward
    student.module.matching.difference.forward = lambda frames, mask: forward(frames * frames.sigmoid(), mask)
    assert planned("clip2video") != dry_run(toys.make_pack(student), toys.make_batch(0).video_BTCHW)["clip2video"]
