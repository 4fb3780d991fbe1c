"""The methods' promises on today's towers: DINOv2 and v3, SigLIP, PE-Core, AIMv2, as toys of timm's own models."""

import pytest
import torch
from pydantic_core import PydanticCustomError

import families
import toys
from side4video.engine.checkpoint import restore_student, save_checkpoint
from side4video.engine.loop import train
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.planning.memory import plan_memory
from tiny import tiny

METHODS = {
    "side4video": toys.METHODS["side4video"],
    "side4video-mean": Side4VideoSpec(layers=2, dim=64, shifted_token="mean"),
    "evl-without-lookup": toys.METHODS["evl-without-lookup"],
    "linear": toys.METHODS["linear"],
    "attentive": toys.METHODS["attentive"],
    "dist": toys.METHODS["dist"],
    "st-adapter": toys.METHODS["st-adapter"],
    "full": toys.METHODS["full"],
}
WITHOUT_CLASS_TOKEN = ("siglip", "aimv2")
NEED_CLASS_TOKEN = ("dist", "st-adapter")
CASES = [
    (method, kind)
    for method in METHODS
    for kind in families.TIMM_KINDS
    if not (method in NEED_CLASS_TOKEN and kind in WITHOUT_CLASS_TOKEN)
]
PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)


def student(method, kind, name="a", **options):
    return toys.make_student(name, METHODS[method], family=kind, **options)


def train_whole(kind, *students, first_step=0):
    train(toys.make_pack(*students, family=kind), toys.ToyStream(), plan=PLAN, callbacks=[], first_step=first_step)
    return [toys.weights_of(each) for each in students]


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_resumed_equals_undisturbed(method, kind, tmp_path):
    (undisturbed,) = train_whole(kind, student(method, kind))
    first, resumed = student(method, kind), student(method, kind)
    timer, pack = StepTimer(torch.device("cpu")), toys.make_pack(first, family=kind)
    for step in range(4):
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        train_step(pack, next(iter(toys.ToyStream().batches(epoch, offset))), step=step, plan=PLAN, timer=timer)
    restore_student(save_checkpoint(tmp_path / "checkpoint", {"a": first}, {"next_step": 4}), resumed)
    assert not toys.same(toys.weights_of(first), undisturbed)
    assert toys.same(train_whole(kind, resumed, first_step=4)[0], undisturbed)


@pytest.mark.parametrize("kind", families.TIMM_KINDS)
def test_packed_equals_alone(kind):
    names = [each for each in METHODS if METHODS[each].packable and each != "dist"]
    packed = train_whole(kind, *(student(each, kind, name=each) for each in names))
    for name, weights in zip(names, packed, strict=True):
        assert toys.same(train_whole(kind, student(name, kind, name=name))[0], weights), name


@pytest.mark.parametrize(("method", "kind"), [case for case in CASES if METHODS[case[0]].packable])
def test_the_planner_predicts_what_backward_holds(method, kind):
    one, batch = student(method, kind), toys.make_batch(0)
    features = toys.make_pack(one, family=kind).features_for([one], batch)
    with measure_held(weights_under(one.module)) as held:
        one.task.loss(one.module(features), batch.labels_B)
    spec = tiny(
        backbone={"image_size": toys.SIZE, "layers": 4},
        data={"size": toys.SIZE, "frames": toys.FRAMES},
        optimization={"batch_size": toys.BATCH, "precision": "fp32"},
    )
    assert plan_memory(spec, toys.make_skeleton(METHODS[method], family=kind)).held_for_backward == held.total


@pytest.mark.parametrize("kept_tokens", ["own-precision", "8-bit"])
@pytest.mark.parametrize("method", ["side4video", "side4video-mean"])
@pytest.mark.parametrize("kind", ["siglip", "dinov3"])
def test_so_it_does_in_half_precision_and_with_tokens_in_eight_bits(method, kind, kept_tokens):
    one, batch = student(method, kind, tower="bf16", precision="bf16"), toys.make_batch(0)
    pack = toys.make_pack(one, family=kind, precision="bf16", kept_tokens=kept_tokens)
    features = pack.features_for([one], batch)
    with measure_held(weights_under(one.module)) as held:
        with one.autocast("bf16"):
            outputs = one.module(features)
        loss = one.task.loss(outputs, batch.labels_B)
    loss.backward()
    assert all(each.grad.isfinite().all() for each in one.module.parameters())
    spec = tiny(
        backbone={"image_size": toys.SIZE, "layers": 4},
        data={"size": toys.SIZE, "frames": toys.FRAMES},
        optimization={"batch_size": toys.BATCH, "precision": "bf16"},
    )
    skeleton = toys.make_skeleton(METHODS[method], family=kind, tower="bf16", kept_tokens=kept_tokens)
    assert plan_memory(spec, skeleton).held_for_backward == held.total


@pytest.mark.parametrize("kind", families.TIMM_KINDS)
def test_what_is_shifted(kind):
    shape = toys.toy_tower(family=kind).shape
    assert METHODS["side4video"].shifts(shape) == ("pooled" if kind in WITHOUT_CLASS_TOKEN else "class")
    for method in NEED_CLASS_TOKEN if kind in WITHOUT_CLASS_TOKEN else ():
        with pytest.raises(PydanticCustomError, match="this backbone has none"):
            METHODS[method].feature_request(shape, frames=toys.FRAMES, task="recognition")


@pytest.mark.parametrize("method", ["evl", "aim"])
def test_methods_that_read_clips_attention_are_refused(method):
    with pytest.raises(PydanticCustomError):
        toys.METHODS[method].feature_request(
            toys.toy_tower(family="dinov2").shape, frames=toys.FRAMES, task="recognition"
        )
