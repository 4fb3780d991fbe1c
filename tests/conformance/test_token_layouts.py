"""Towers without a class token, and with registers: which methods work with them, and that registers change nothing."""

import dataclasses

import pytest
import torch
from pydantic_core import PydanticCustomError

import families
import toys
from side4video.core.seeds import seeded
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.attention_maps import tower_definition, tower_map, tower_request
from side4video.models.backbones.shape import TokenLayout
from side4video.models.frozen_features import entry_layouts, frozen_features
from side4video.models.layers.attention import split_class_token
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.methods.stan import STANSpec
from side4video.models.methods.zero_shot import ZeroShotSpec
from side4video.planning.memory import plan_memory
from tiny import tiny

METHODS = {
    **toys.METHODS,
    "side4video-no-shift": Side4VideoSpec(layers=2, dim=64, cls_shift=False),
    "side4video-mean": Side4VideoSpec(layers=2, dim=64, shifted_token="mean"),
    "side4video-class": Side4VideoSpec(layers=2, dim=64, shifted_token="class"),
    "side4video-extra": Side4VideoSpec(layers=2, dim=64, cls_shift=False, representation="extra-cls"),
    "side4video-vit-cls": Side4VideoSpec(layers=2, dim=64, cls_shift=False, representation="vit-cls"),
    "side4video-vit-cls-shift": Side4VideoSpec(layers=2, dim=64, representation="vit-cls"),
}
WITHOUT_CLASS_TOKEN = (
    *(
        "side4video",
        "side4video-authors",
        "side4video-gated",
        "side4video-differences",
        "side4video-no-shift",
        "side4video-mean",
        "side4video-extra",
        "linear",
        "attentive",
        "gated-recurrence",
        "v-jepa-2-probe",
        "evl",
        "evl-without-lookup",
        "full",
        "text4vis",
        "text4vis-frozen",
        "uniformerv2-frozen",
    ),
)
CASES = [(method, "no-class-token") for method in WITHOUT_CLASS_TOKEN] + [
    (method, "four-registers") for method in METHODS
]


def request(method, kind, task="recognition"):
    shape = toys.toy_tower(family=kind).shape
    return method.feature_request(shape, frames=toys.FRAMES, task=task)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_needs_a_class_token_is_refused_without_one(method):
    if method in WITHOUT_CLASS_TOKEN:
        assert not METHODS[method].needs_class_token
        request(METHODS[method], "no-class-token")
        return
    with pytest.raises(PydanticCustomError, match="this backbone has n"):
        request(METHODS[method], "no-class-token")
    request(METHODS[method], "four-registers")


@pytest.mark.parametrize("option", ["shifted_token", "representation"])
def test_options_of_side4video_say_what_they_need(option):
    method = METHODS["side4video-class" if option == "shifted_token" else "side4video-vit-cls"]
    with pytest.raises(PydanticCustomError) as error:
        request(method, "no-class-token")
    assert error.value.context["where"] == f"method.{option}"
    assert f"set method.{option} to" in str(error.value)


@pytest.mark.parametrize("method", [METHODS["side4video-no-shift"], ZeroShotSpec()], ids=["side4video", "zero-shot"])
def test_retrieval_reads_the_class_token_or_the_pooled_feature(method):
    found = {kind: request(method, kind, task="retrieval") for kind in families.LAYOUTS}
    assert [(each.class_token, each.pooled) for each in found.values()] == [(False, True), (True, False)]


def test_the_shifted_token_follows_the_tower():
    method = METHODS["side4video"]
    shapes = [toys.toy_tower(family=kind).shape for kind in families.LAYOUTS]
    assert [method.shifts(shape) for shape in shapes] == ["pooled", "class"]
    assert [request(method, kind).pooled for kind in families.LAYOUTS] == [True, False]
    with pytest.raises(ValueError, match="shifted_token mean beside cls_shift: false"):
        Side4VideoSpec(cls_shift=False, shifted_token="mean")


def test_stan_copies_a_tower_without_registers():
    with pytest.raises(PydanticCustomError, match="registers, or"):
        request(STANSpec(layers=2), "four-registers", task="retrieval")


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_training_moves_what_is_trained_and_not_the_tower(method, kind):
    student = toys.make_student("a", METHODS[method], family=kind, weight_decay=0.0)
    pack, timer = toys.make_pack(student, family=kind), StepTimer(torch.device("cpu"))
    tower = toys.toy_tower(family=kind)
    frozen = {name: tensor.clone() for name, tensor in tower.named_parameters()}
    before = {name: tensor.clone() for name, tensor in student.module.named_parameters() if tensor.requires_grad}
    (batch,) = next(iter(toys.ToyStream().batches(0)))
    for step in range(3):
        train_step(pack, [batch], step=step, plan=Plan(steps=7, steps_per_epoch=3), timer=timer)
    assert toys.same(frozen, dict(tower.named_parameters()))
    unmoved = {
        name
        for name, tensor in student.module.named_parameters()
        if name in before and torch.equal(before[name], tensor)
    }
    last = {"st-adapter": "before_perceptron.3.", "dist": "stages.3.to_temporal."}.get(METHODS[method].kind, "-")
    assert {name for name in unmoved if last not in name} == set()
    assert all(tensor.isfinite().all() for tensor in student.module.parameters())


@pytest.mark.parametrize(("method", "kind"), [case for case in CASES if METHODS[case[0]].packable])
def test_the_planner_predicts_what_backward_holds(method, kind):
    student, batch = toys.make_student("a", METHODS[method], family=kind), toys.make_batch(0)
    features = toys.make_pack(student, family=kind).features_for([student], batch)
    with measure_held(weights_under(student.module)) as held:
        student.task.loss(student.module(features), batch.labels_B)
    sizes, clips = {"image_size": toys.SIZE, "layers": 4}, {"size": toys.SIZE, "frames": toys.FRAMES}
    optimization = {"batch_size": toys.BATCH, "precision": "fp32"}
    spec = tiny(backbone=sizes, data=clips, optimization=optimization)
    assert plan_memory(spec, toys.make_skeleton(METHODS[method], family=kind)).held_for_backward == held.total


def without_registers(features):
    tokens = {tap: features.layout.without_registers(each).clone() for tap, each in features.tokens.items()}
    return dataclasses.replace(features, layout=toys.toy_tower().shape, tokens=tokens)


@pytest.mark.parametrize(
    "method", ["side4video", "side4video-authors", "side4video-extra", "side4video-vit-cls-shift", "dist"]
)
def test_registers_are_not_read(method):
    """The same network on the same tokens without the registers: the same features and gradients, up to
    the rounding of sums in another order."""
    spec, towers = METHODS[method], [toys.toy_tower(family="four-registers"), toys.toy_tower()]
    features = frozen_features(towers[0], toys.make_batch(0).video_BTCHW, request(spec, "four-registers"))
    results = []
    for tower, read in zip(towers, (features, without_registers(features)), strict=True):
        with seeded(3):
            network = spec.build(tower, frames=toys.FRAMES)
        found = network(read)
        found.square().sum().backward()
        results.append([found.detach(), *(each.grad for each in network.parameters())])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))


def test_twin_that_takes_the_first_register_for_a_patch():
    spec, tower = METHODS["side4video"], toys.toy_tower(family="four-registers")
    features = frozen_features(tower, toys.make_batch(0).video_BTCHW, request(spec, "four-registers"))
    clip = toys.toy_tower().shape
    wrong = {tap: each[:, : clip.tokens].clone() for tap, each in features.tokens.items()}
    with seeded(3):
        network = spec.build(toys.toy_tower(), frames=toys.FRAMES)
    right = network(without_registers(features))
    found = network(dataclasses.replace(features, layout=clip, tokens=wrong))
    assert (found - right).abs().max() > 0.01 * right.abs().max()


def test_splitting_off_the_class_token_passes_gradcheck():
    tokens = torch.randn(1, 2, 7, 3, dtype=torch.float64, requires_grad=True)
    for layout in families.LAYOUTS.values():
        assert torch.autograd.gradcheck(lambda each, layout=layout: split_class_token(each, layout)[1], (tokens,))
    layout = TokenLayout(prefix_tokens=3, class_token=1, pooling="mean")
    assert torch.autograd.gradcheck(lambda each: split_class_token(each, layout), (tokens,))
    assert torch.equal(split_class_token(tokens, layout)[0], tokens[:, :, 1])


@pytest.mark.parametrize("kind", families.LAYOUTS)
def test_a_map_has_the_patches_alone(kind):
    tower = toys.toy_tower(family=kind)
    features = frozen_features(tower, toys.make_batch(0).video_BTCHW, tower_request(tower))
    found = tower_map(tower, features)
    assert found.shape == (toys.BATCH, toys.FRAMES, 2, 2)
    sums = found.sum((-2, -1))
    if kind == "no-class-token":
        torch.testing.assert_close(sums, torch.ones_like(sums))
        assert "each patch receives" in tower_definition(tower)
    else:
        assert (sums < 1).all()
        assert "[CLS]" in tower_definition(tower)


@pytest.mark.parametrize("kind", families.LAYOUTS)
def test_a_cache_of_features_has_all_tokens(kind):
    shape = toys.toy_tower(family=kind).shape
    layouts = entry_layouts(shape, request(METHODS["attentive"], kind), frames=4, dtype=torch.float32, keeps_int8=False)
    assert layouts["tokens-3"]["tokens-3"].shape == (4, 4 + families.LAYOUTS[kind].prefix_tokens, 32)
    assert shape.identity()["prefix_tokens"] == families.LAYOUTS[kind].prefix_tokens
    assert "prefix_tokens" not in toys.toy_tower().shape.identity()
    assert toys.toy_tower().shape.identity()["has_class_token"] is True


def test_a_trunk_and_its_shape_must_agree():
    with pytest.raises(ValueError, match="prefix tokens, class token, pooling: the trunk has"):
        families.layout_tower("no-class-token", trunk_kind="four-registers")
    with pytest.raises(ValueError, match="class token 3 is not one of the 2 prefix tokens"):
        TokenLayout(prefix_tokens=2, class_token=3, pooling="mean")
    with pytest.raises(ValueError, match="cannot pool by it"):
        TokenLayout(prefix_tokens=0, class_token=None, pooling="class-token")
