"""Learning rates, parameter groups, clipping."""

import itertools
import math

import pytest
import torch
from torch import nn

from side4video.engine.optimizer import build_optimizer, clip_gradients, learning_rate_at
from side4video.engine.optimizer_spec import OptimizationSpec


def spec(**changes):
    return OptimizationSpec.model_validate({"length": {"epochs": 10}, "warmup": {"epochs": 2}, **changes})


def rates(of, steps=100, per_epoch=10):
    return [learning_rate_at(step, of, steps=steps, steps_per_epoch=per_epoch) for step in range(steps)]


def test_warmup_is_linear_and_ends_at_the_peak():
    found = rates(spec(learning_rate=1.0))
    assert found[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert max(found) == found[19] == pytest.approx(1.0)


def test_cosine_falls_to_its_floor():
    found = rates(spec(learning_rate=1.0))
    assert all(later <= earlier for earlier, later in itertools.pairwise(found[19:]))
    assert found[-1] == pytest.approx(0.0, abs=1e-12)
    assert found[59] == pytest.approx(0.5 * (1 + math.cos(math.pi * 40 / 80)))
    assert rates(spec(learning_rate=1.0, final_learning_rate_fraction=0.1))[-1] == pytest.approx(0.1)


def test_authors_updates_every_tenth_step_of_an_epoch():
    found = rates(spec(learning_rate=1.0, learning_rate_updates="authors"), steps=250, per_epoch=25)
    assert found[:10] == [0.0] * 10
    assert found[10] == found[19] != found[20]
    assert found[24] == found[20]
    assert found[25] == pytest.approx(25 / 50)


def model():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_groups():
    everything = build_optimizer(model(), spec())
    assert [group["weight_decay"] for group in everything.param_groups] == [0.15]
    matrices = build_optimizer(model(), spec(weight_decay_on="matrices"))
    sizes = {group["weight_decay"]: sum(p.numel() for p in group["params"]) for group in matrices.param_groups}
    assert sizes == {0.15: 16 + 8, 0.0: 4 + 4 + 4 + 2}
    norms = build_optimizer(model(), spec(batch_norm_learning_rate="over-accumulation", accumulation=4))
    assert {group["scale"]: sum(p.numel() for p in group["params"]) for group in norms.param_groups} == {
        1.0: 16 + 4 + 8 + 2,
        0.25: 8,
    }


def test_frozen_parameters_are_left_out():
    network = model()
    network[0].requires_grad_(False)
    held = [p for group in build_optimizer(network, spec()).param_groups for p in group["params"]]
    assert not any(parameter is frozen for parameter in held for frozen in network[0].parameters())


def test_clipping():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([parameter], spec()) is None
    norm = clip_gradients([parameter], spec(clipping={"kind": "norm", "value": 1.0}))
    assert float(norm) == pytest.approx(5.0)
    assert float(parameter.grad.norm()) == pytest.approx(1.0, rel=1e-4)


def test_table_12():
    """Every column of the paper's Table 12: learning rate, batch size, epochs, warm-up."""
    table = {
        "k400-vitb16": (1e-3, 256, 30, 4),
        "k400-vitl14": (1e-4, 256, 30, 4),
        "k400-vite14": (1e-4, 128, 20, 4),
        "ssv1-vitb16": (1e-3, 128, 40, 4),
        "ssv1-vitl14": (1e-4, 128, 30, 4),
        "ssv1-vite14": (1e-4, 64, 30, 6),
        "ssv2-vitb16": (1e-3, 128, 30, 4),
        "ssv2-vitl14": (1e-4, 128, 30, 4),
        "ssv2-vite14": (1e-4, 64, 25, 6),
    }
    for recipe, (rate, batch, epochs, warmup) in table.items():
        found = OptimizationSpec.model_validate({"recipe": recipe})
        assert (found.learning_rate, found.batch_size, found.length.epochs, found.warmup.epochs) == (
            rate,
            batch,
            epochs,
            warmup,
        )
        assert (found.weight_decay, found.betas) == (0.15, (0.9, 0.999))


RECIPES = {
    # learning rate, weight decay, videos, epochs, warm-up in epochs, the head's factor
    "st-adapter-ssv2": (1e-3, 1e-2, 256, 50, 2, 1),
    "st-adapter-k400": (7.5e-4, 1e-2, 192, 12, 2, 1),
    "aim-ssv2": (3e-4, 0.05, 64, 50, 2.5, 1),
    "aim-ssv2-vitl14": (3e-5, 0.05, 64, 50, 2.5, 10),
    "aim-k400": (3e-4, 0.05, 64, 30, 2.5, 1),
    "aim-k400-vitl14": (3e-5, 0.05, 64, 30, 2.5, 10),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_of_other_authors(recipe):
    rate, decay, videos, epochs, warmup, head = RECIPES[recipe]
    found = OptimizationSpec(recipe=recipe)
    assert found.learning_rate == pytest.approx(rate)
    assert (found.weight_decay, found.weight_decay_on) == (decay, "matrices")
    assert (found.batch_size, found.length.epochs, found.warmup.epochs) == (videos, epochs, warmup)
    assert found.learning_rate * found.head_learning_rate_factor == pytest.approx(rate * head)


def test_the_ladders_recipe():
    found = OptimizationSpec(recipe="lst")
    assert (found.learning_rate, found.warmup.steps) == (3e-3, 500)


def test_recipes_of_evl_and_dist():
    """Without warm-up EVL's first step runs at the peak, to the cosine; DiST decays matrices alone."""
    evl = OptimizationSpec(recipe="evl-k400")
    assert (evl.weight_decay, evl.weight_decay_on, evl.batch_size, evl.length.steps) == (0.05, "all", 256, 50_000)
    assert OptimizationSpec(recipe="evl-ssv2").length.steps == 30_000
    first, last = (learning_rate_at(step, evl, steps=50_000, steps_per_epoch=900) for step in (0, 49_999))
    assert first == pytest.approx(4e-4)
    assert last == pytest.approx(0, abs=1e-12)
    dist = OptimizationSpec(recipe="dist-ssv2")
    assert (dist.learning_rate, dist.weight_decay, dist.weight_decay_on) == (3.2e-4, 1e-4, "matrices")
    assert (dist.batch_size, dist.length.epochs, dist.warmup.epochs) == (256, 36, 6)


def test_the_authors_updates_without_a_warmup_begin_at_the_peak():
    spec = OptimizationSpec.model_validate(
        {"learning_rate": 0.5, "length": {"steps": 40}, "warmup": {"steps": 0}, "learning_rate_updates": "authors"}
    )
    rates = [learning_rate_at(step, spec, steps=40, steps_per_epoch=20) for step in range(40)]
    assert rates[0] == rates[9] == 0.5
    assert rates[10] < 0.5
