"""Learning rates, parameter groups, clipping."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from side4video.engine.optimizer import build_optimizer, clip_gradients, learning_rate_at
from side4video.spec.optimization import OptimizationSpec


def spec(**changes):
    return OptimizationSpec.model_validate({"length": {"epochs": 10}, "warmup": {"epochs": 2}, **changes})


def rates(of, steps=100, per_epoch=10):
    return [learning_rate_at(step, of, steps=steps, steps_per_epoch=per_epoch) for step in range(steps)]


@pytest.mark.parametrize(("epochs", "warmup"), [(10, 10), (4, 4), (1, 1), (0.5, 0)])
def test_a_share_is_a_warmup_of_any_training(epochs, warmup):
    share, steps = spec(length={"epochs": epochs}, warmup={"share": 0.1}), round(10 * epochs)
    assert rates(share, steps) == rates(spec(length={"epochs": epochs}, warmup={"steps": warmup}), steps)
    assert share.warmup_steps(steps, 10) == warmup


def test_a_share_stands_alone_and_leaves_old_documents_their_digest():
    with pytest.raises(ValidationError, match=r"both share \(0.1\) and epochs \(2\) are given"):
        spec(warmup={"share": 0.1, "epochs": 2})
    with pytest.raises(ValidationError, match=r"both share \(0.1\) and steps \(5\) are given"):
        spec(warmup={"share": 0.1, "steps": 5})
    for warmup, kept in (
        ({"epochs": 2}, {"epochs": 2.0, "steps": 0}),
        ({"share": 0.1}, {"epochs": 0.0, "steps": 0, "share": 0.1}),
    ):
        document = spec(warmup=warmup)
        assert document.without_new_defaults(document.model_dump(mode="json"))["warmup"] == kept


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


def test_the_authors_updates_without_a_warmup_begin_at_the_peak():
    spec = OptimizationSpec.model_validate(
        {"learning_rate": 0.5, "length": {"steps": 40}, "warmup": {"steps": 0}, "learning_rate_updates": "authors"}
    )
    rates = [learning_rate_at(step, spec, steps=40, steps_per_epoch=20) for step in range(40)]
    assert rates[0] == rates[9] == 0.5
    assert rates[10] < 0.5
