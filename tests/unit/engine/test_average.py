"""The moving average, from its definition: average = decay * average + (1 - decay) * value, begun at the first value.

What a batch norm knows of its inputs is averaged as weights are: statistics of today beside weights of the past fit
neither.
"""

import copy

import pytest
import torch
from torch import nn

import toys
from side4video.engine.optimizer import build_average
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.spec.optimization import OptimizationSpec

DECAY = 0.75
AVERAGED = {"average": {"kind": "moving-average", "decay": DECAY}}


def by_definition(states):
    """Of what each step left: in double precision, every floating tensor."""
    average = {name: tensor.double() for name, tensor in states[0].items() if tensor.is_floating_point()}
    for state in states[1:]:
        average = {name: DECAY * before + (1 - DECAY) * state[name].double() for name, before in average.items()}
    return average


def assert_averages(found, states):
    expected = by_definition(states)
    assert expected
    for name, tensor in expected.items():
        assert torch.allclose(found[name].double(), tensor, rtol=1e-5, atol=1e-6), name


def test_statistics_of_a_batch_norm_are_averaged():
    norm = nn.BatchNorm1d(1, momentum=1.0)  # it knows the last batch alone
    average = build_average(norm, OptimizationSpec.model_validate(AVERAGED))
    for level in (0.0, 8.0, 4.0):
        norm(torch.tensor([[level - 1], [level + 1]]))
        average.update_parameters(norm)
    # 0, then 0.75 * 0 + 0.25 * 8 = 2, then 0.75 * 2 + 0.25 * 4 = 2.5
    assert float(average.module.running_mean) == pytest.approx(2.5)
    assert float(average.module.running_var) == pytest.approx(2.0)


@pytest.mark.parametrize("method", ["side4video", "linear"])
def test_what_is_evaluated_is_the_average_of_all_that_steps_left(method):
    student = toys.make_student("a", toys.METHODS[method], **AVERAGED)
    pack, plan, states = toys.make_pack(student), Plan(steps=6, steps_per_epoch=6), []
    for step in range(6):
        parts = [toys.make_batch(0, step)]
        train_step(pack, parts, step=step, plan=plan, timer=StepTimer(torch.device("cpu")))
        states.append(copy.deepcopy(student.module.state_dict()))
    assert_averages(student.evaluated.state_dict(), states)
    statistics = [name for name in states[0] if name.endswith("running_mean")]
    assert bool(statistics) == (method == "side4video")
    for name in statistics:
        assert not torch.allclose(states[-1][name], student.evaluated.state_dict()[name])


def test_without_an_average_the_last_weights_are_evaluated():
    student = toys.make_student("a", toys.METHODS["linear"])
    assert student.average is None
    assert student.evaluated is student.module
