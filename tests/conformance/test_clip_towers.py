"""What methods promise on towers that read whole clips: V-JEPA 2, VideoMAE, ViViT and Video Swin."""

import pytest
import torch
from pydantic_core import PydanticCustomError

import toys
from clip_towers import CLIP_FAMILIES, clip_tower
from side4video.engine.checkpoint import restore_student, save_checkpoint
from side4video.engine.loop import train
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.methods.full import FullSpec
from side4video.models.methods.gated_recurrence import GatedRecurrenceSpec
from side4video.models.methods.linear import LinearSpec
from side4video.models.methods.vjepa_probe import VJEPAProbeSpec
from side4video.planning.memory import plan_memory
from tiny import tiny

METHODS = {
    "linear": LinearSpec(),
    "attentive": AttentiveSpec(),
    "v-jepa-2-probe": VJEPAProbeSpec(layers=3),
    "gated-recurrence": GatedRecurrenceSpec(layers=1),
    "full": FullSpec(),
}
PACKED = [name for name, method in METHODS.items() if method.packable]
PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)
both = pytest.mark.parametrize("family", CLIP_FAMILIES)
each_method = pytest.mark.parametrize("method", METHODS)


def student(method, family, name="a", **options):
    return toys.make_student(name, METHODS[method], family=family, **options)


def train_whole(family, *students, first_step=0):
    train(toys.make_pack(*students, family=family), toys.ToyStream(), plan=PLAN, callbacks=[], first_step=first_step)
    return [toys.weights_of(each) for each in students]


@each_method
@both
def test_resumed_equals_undisturbed(method, family, tmp_path):
    (undisturbed,) = train_whole(family, student(method, family))
    first, resumed = student(method, family), student(method, family)
    timer, pack = StepTimer(torch.device("cpu")), toys.make_pack(first, family=family)
    for step in range(4):
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        train_step(pack, next(iter(toys.ToyStream().batches(epoch, offset))), step=step, plan=PLAN, timer=timer)
    restore_student(save_checkpoint(tmp_path / "checkpoint", {"a": first}, {"next_step": 4}), resumed)
    assert not toys.same(toys.weights_of(first), undisturbed)
    assert toys.same(train_whole(family, resumed, first_step=4)[0], undisturbed)


@both
def test_packed_equals_alone(family):
    packed = train_whole(family, *(student(each, family, name=each, seed=seed) for seed, each in enumerate(PACKED)))
    for seed, (name, weights) in enumerate(zip(PACKED, packed, strict=True)):
        alone = train_whole(family, student(name, family, name=name, seed=seed))[0]
        assert toys.same(alone, weights), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@each_method
@both
def test_the_planner_predicts_what_backward_holds(method, family, precision):
    one, batch = student(method, family, precision=precision), toys.make_batch(0)
    features = toys.make_pack(one, family=family).features_for([one], batch)
    with measure_held(weights_under(one.module)) as held:
        with one.autocast(precision):
            outputs = one.module(features)
        one.task.loss(outputs, batch.labels_B)
    spec = tiny(
        backbone={"image_size": toys.SIZE, "layers": 4},
        data={"size": toys.SIZE, "frames": toys.FRAMES},
        optimization={"batch_size": toys.BATCH, "precision": precision},
    )
    planned = plan_memory(spec, toys.make_skeleton(METHODS[method], family=family)).held_for_backward
    if (method, precision) == ("full", "bf16"):
        # The library's norms keep their statistics in fp32, and those of fake tensors in bf16: a few numbers a token.
        assert 0 <= held.total - planned < 0.01 * planned
    else:
        assert planned == held.total


@both
def test_the_tower_is_frozen_under_probes_and_trained_under_full(family):
    for method, trains in (("attentive", False), ("full", True)):
        before = {name: tensor.clone() for name, tensor in toys.toy_tower(family=family).state_dict().items()}
        one = student(method, family)
        train_whole(family, one)
        assert toys.same(before, toys.toy_tower(family=family).state_dict())
        moved = [name for name, parameter in one.module.named_parameters() if parameter.grad is not None]
        assert not moved  # the update frees them
        names = {name for name, parameter in one.module.named_parameters() if parameter.requires_grad}
        assert any("trunk.visual" in name for name in names) == trains


@pytest.mark.parametrize(
    "method", sorted(set(toys.METHODS) - {"linear", "attentive", "full", "v-jepa-2-probe", "gated-recurrence"})
)
def test_methods_that_read_frames_are_refused(method):
    shape = clip_tower("vjepa2").shape()
    with pytest.raises(PydanticCustomError, match=r"reads whole clips.*allowed: for this backbone: linear"):
        toys.METHODS[method].feature_request(shape, frames=8, task="recognition")


@pytest.mark.parametrize(
    ("family", "frames", "message"),
    [
        ("vjepa2", 7, "a token of the backbone is of 2 frames.*set data.frames to 8"),
        ("video-swin", 1, "a token of the backbone is of 2 frames.*set data.frames to 2"),
        ("videomae", 4, "positions are for clips of 8 frames.*set data.frames to 8"),
        ("vivit", 16, "positions are for clips of 8 frames.*set data.frames to 8"),
    ],
)
def test_clips_that_the_tower_cannot_read(family, frames, message):
    with pytest.raises(PydanticCustomError, match=message):
        LinearSpec().feature_request(clip_tower(family).shape(), frames=frames, task="recognition")
