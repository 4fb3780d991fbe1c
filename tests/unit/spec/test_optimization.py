"""The recipes of `optimization.recipe` are the authors' settings."""

import pytest

from side4video.engine.optimizer import learning_rate_at
from side4video.spec.optimization import OptimizationSpec


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
