"""The memory plan: what it counts, and that a leaner or larger run is seen as such."""

import pytest

from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.planning.plan import plan_experiment
from tiny import tiny


def parts(**changes):
    spec = tiny(**changes)
    return plan_memory(spec, build_meta_model(spec, classes=10))


def test_peak_is_the_sum_of_its_parts():
    found = parts()
    assert found.peak == sum(found.parts.values())
    assert all(size >= 0 for size in found.parts.values())
    assert found.reserved >= found.peak


def test_weights_and_optimizer_are_exact():
    plan = plan_experiment(tiny(), classes=10)
    found = parts().parts
    # Each storage is handed out in multiples of 512 bytes, so sums are a little more than the numbers.
    for part, expected in (("optimizer", 8 * plan.trainable_parameters), ("tower", 4 * plan.tower_parameters)):
        assert expected <= found[part] <= 1.35 * expected, part


def test_held_grows_with_the_batch_and_not_with_the_average():
    small, large = parts(), parts(optimization={"batch_size": 16})
    assert large.held_for_backward == pytest.approx(2 * small.held_for_backward, rel=0.02)
    averaged = parts(optimization={"average": {"kind": "moving-average"}})
    assert averaged.held_for_backward == small.held_for_backward
    assert averaged.parts["weights"] > small.parts["weights"]


def test_a_linear_probe_holds_next_to_nothing():
    assert parts(method={"kind": "linear"}).held_for_backward < parts().held_for_backward / 50


def test_a_method_that_reads_deeper_holds_more():
    shallow, deep = parts(method={"layers": 1}), parts(method={"layers": 2})
    assert shallow.held_for_backward < deep.held_for_backward
