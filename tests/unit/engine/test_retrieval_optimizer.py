"""What learns at which rate and what decays, for a student of retrieval."""

import pytest
import torch
from torch import nn

import retrieval_toys
from side4video.engine.optimizer import build_optimizer
from side4video.spec.optimization import OptimizationSpec

RECIPE = {"recipe": "retrieval"}


def groups_of(student, **changes):
    """By name: the factor of the rate, and the decay."""
    spec = OptimizationSpec.model_validate({**RECIPE, **changes})
    names = {id(parameter): name for name, parameter in student.module.named_parameters()}
    optimizer = build_optimizer(student.module, spec)
    return {
        names[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def is_clips(name):
    """CLIP's own: the text tower, the image tower or its last two layers, and the scale."""
    parts = ("network.text.", "network.video.projection.", "network.video.frames.projection.", "scale.", ".trunk.")
    return any(part in name for part in parts)


def check_rates(student):
    found = groups_of(student)
    trained = {name for name, parameter in student.module.named_parameters() if parameter.requires_grad}
    assert set(found) == trained
    assert {name: scale for name, (scale, _) in found.items()} == {
        name: 1e-3 if is_clips(name) else 1.0 for name in trained
    }


@pytest.mark.parametrize(
    ("method", "matching"),
    [
        ("side4video", "weighted"),
        ("clip4clip", "mean"),
        ("clip4clip-frozen-sequence", "mean"),
        ("clip4clip-frozen", "tight"),
    ],
)
def test_what_was_trained_before_learns_at_its_own_rate(method, matching):
    check_rates(retrieval_toys.make_student("a", method, matching=matching))


def forgets_the_scale(student):
    student.module.scale.is_pretrained = False


def takes_all_of_the_video_side(student):
    student.module.network.video.is_pretrained = True


@pytest.mark.parametrize("spoil", [forgets_the_scale, takes_all_of_the_video_side])
def test_twins_of_the_rates(spoil):
    student = retrieval_toys.make_student("a")
    spoil(student)
    with pytest.raises(AssertionError):
        check_rates(student)


def test_the_recipe_is_the_authors():
    spec = OptimizationSpec.model_validate(RECIPE)
    assert spec.learning_rate * spec.pretrained_learning_rate_factor == pytest.approx(1e-7)
    assert (spec.betas, spec.epsilon, spec.weight_decay) == ((0.9, 0.98), 1e-6, 0.2)
    assert (spec.batch_size, spec.length.epochs, spec.warmup.epochs) == (128, 5, 0.5)
    assert (spec.clipping.kind, spec.clipping.value) == ("norm", 1.0)


def decays(student, **changes):
    return {name for name, (_, decay) in groups_of(student, **changes).items() if decay}


def test_all_but_biases_decay():
    student = retrieval_toys.make_student("a")
    found = decays(student)
    everything = {name for name, parameter in student.module.named_parameters() if parameter.requires_grad}
    assert everything - found == {name for name in everything if "bias" in name}
    assert {"scale.logarithm", "network.video.up_dD", "network.video.side.final_norm.weight"} <= found
    kept = {"network.video.side.blocks.0.temporal.mix.bias_D", "network.video.side.stem.bias_D"}
    assert kept | {"network.text.transformer.transformer.resblocks.0.attn.in_proj_bias"} <= everything - found
    assert decays(student, weight_decay_on="all") == everything
    matrices = decays(student, weight_decay_on="matrices")
    assert "network.video.side.final_norm.weight" not in matrices
    assert "network.video.side.blocks.0.attention.leave.weight" in matrices


def test_eva_projections_bias_does_not_decay():
    student = retrieval_toys.make_student("a", "clip4clip-frozen", family="eva-rotary")
    assert "network.video.projection.bias_E" not in decays(student)
    assert "network.video.projection.weight_DE" in decays(student)


class Named(nn.Module):
    """A part whose name, and not whose tensors', speaks of biases."""

    def __init__(self):
        super().__init__()
        self.bias_maker = nn.Linear(2, 2)


def test_the_name_of_a_part_is_not_that_of_a_tensor():
    spec = OptimizationSpec.model_validate(RECIPE)
    module = Named()
    (decayed,) = (g["params"] for g in build_optimizer(module, spec).param_groups if g["weight_decay"])
    assert [parameter.shape for parameter in decayed] == [torch.Size([2, 2])]
