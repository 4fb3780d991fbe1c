"""What a search draws: inside its bounds, on its steps, in the chosen branch alone, and the same for the same seed."""

from collections import Counter
from math import log10

import pytest
from pydantic import TypeAdapter

from side4video.core.errors import InputError
from side4video.spec.load import parse_document
from side4video.spec.space import Dimension, RandomSampler, sample_overrides
from side4video.spec.sweep import RandomSearch

DRAWS = 400
NESTED = {
    "method": {
        "kind": "choice",
        "values": [
            {
                "kind": "side4video",
                "layers": {"kind": "integer", "low": 2, "high": 6, "step": 2},
                "mixing": {"kind": "choice", "values": ["add", {"kind": "choice", "values": ["mean", "gate"]}]},
            },
            {"kind": "linear"},
        ],
    },
    "optimization.betas": {"kind": "choice", "values": [[0.9, {"kind": "uniform", "low": 0.95, "high": 0.999}]]},
}


def dimensions(written):
    return {path: TypeAdapter(Dimension).validate_python(value) for path, value in written.items()}


def arms(written, seed=0, count=DRAWS):
    space = dimensions(written)
    return [sample_overrides(space, RandomSampler("sweep", seed, number)) for number in range(count)]


def values(count=DRAWS, **dimension):
    return [arm["x"] for arm in arms({"x": dimension}, count=count)]


def complaint(space):
    with pytest.raises(InputError) as caught:
        parse_document(RandomSearch, {"arms": 3, "space": space}, source="sweep.yaml")
    return str(caught.value)


# ---- seeds


def test_the_same_seed_draws_the_same_arms():
    assert arms(NESTED) == arms(NESTED)


def test_another_seed_draws_other_arms():
    assert arms(NESTED, count=20) != arms(NESTED, seed=1, count=20)


def test_an_arm_does_not_depend_on_how_many_are_drawn():
    assert arms(NESTED, count=5) == arms(NESTED, count=50)[:5]


def test_twin_whose_arms_depend_on_those_before():
    sampler, space = RandomSampler("sweep", 0), dimensions(NESTED)
    first, second = ([sample_overrides(space, sampler) for _ in range(count)] for count in (5, 50))
    assert first != second[:5]


# ---- bounds and steps


@pytest.mark.parametrize("kind", ["uniform", "log-uniform"])
@pytest.mark.parametrize(("low", "high"), [(1e-5, 1e-2), (0.1231, 0.1269), (1.2345e-4, 98765.4)])
def test_numbers_lie_in_their_bounds(kind, low, high):
    drawn = values(kind=kind, low=low, high=high)
    assert all(low <= number <= high for number in drawn)
    assert len(set(drawn)) > 1


def test_twin_that_rounds_over_a_bound():
    drawn = (RandomSampler(seed).number("x", 0.1231, 0.1269, is_log=False) for seed in range(DRAWS))
    assert not all(float(f"{number:.3g}") >= 0.1231 for number in drawn)


@pytest.mark.parametrize("bounds", [{"low": -7, "high": 7}, {"low": 0.02, "high": 90.0}])
def test_numbers_have_three_digits(bounds):
    drawn = values(kind="uniform", **bounds)
    assert all(number == float(f"{number:.3g}") for number in drawn)
    assert any(number != float(f"{number:.2g}") for number in drawn)


@pytest.mark.parametrize(
    ("low", "high", "step", "all_of_them"), [(2, 6, 2, {2, 4, 6}), (1, 9, 3, {1, 4, 7}), (-1, 1, 1, {-1, 0, 1})]
)
def test_whole_numbers_lie_on_their_steps_and_all_are_drawn(low, high, step, all_of_them):
    assert set(values(kind="integer", low=low, high=high, step=step)) == all_of_them


def test_each_value_of_a_choice_is_as_likely_as_any_other():
    counts = Counter(values(kind="choice", values=["a", "b", None, 4]))
    assert set(counts) == {"a", "b", None, 4}
    assert min(counts.values()) > 0.7 * DRAWS / 4


# ---- orders of magnitude


def decades(drawn):
    """Of numbers from 1e-6 to 1e-2, how many lie in each of the four orders of magnitude."""
    counts = Counter(int(log10(number) // 1) for number in drawn if number < 1e-2)
    return [counts[exponent] for exponent in range(-6, -2)]


def is_even(counts):
    return min(counts) > 0.7 * sum(counts) / 4


def test_log_uniform_is_uniform_in_orders_of_magnitude():
    assert is_even(decades(values(kind="log-uniform", low=1e-6, high=1e-2)))


def test_twin_that_is_uniform_in_numbers():
    assert not is_even(decades(values(kind="uniform", low=1e-6, high=1e-2)))


def test_uniform_is_uniform_in_numbers():
    counts = Counter(int(number) for number in values(kind="uniform", low=0, high=4) if number < 4)
    assert is_even([counts[part] for part in range(4)])


# ---- branches


def stray_keys(drawn):
    """Arms that hold a field of a branch they did not take, lack one of theirs, or still hold a dimension."""
    fields = {"side4video": {"kind", "layers", "mixing"}, "linear": {"kind"}}
    return [arm for arm in drawn if arm["method"].keys() != fields[arm["method"]["kind"]] or "values" in str(arm)]


def test_nested_dimensions_exist_in_the_chosen_branch_alone():
    drawn = arms(NESTED)
    assert stray_keys(drawn) == []
    assert {arm["method"]["kind"] for arm in drawn} == {"side4video", "linear"}
    assert {arm["method"].get("mixing") for arm in drawn} == {None, "add", "mean", "gate"}
    assert {arm["method"].get("layers") for arm in drawn} == {None, 2, 4, 6}
    assert all(0.95 <= arm["optimization.betas"][1] <= 0.999 for arm in drawn)


def test_twin_that_leaves_the_other_branchs_fields():
    drawn = [{**arm, "method": {"layers": 2, "mixing": "add", **arm["method"]}} for arm in arms(NESTED)]
    assert stray_keys(drawn)


def test_a_sections_kind_may_be_drawn_itself():
    written = {"m": {"kind": "choice", "values": [{"kind": {"kind": "choice", "values": ["linear", "lst"]}}]}}
    assert {arm["m"]["kind"] for arm in arms(written)} == {"linear", "lst"}


class Questions:
    """A chooser that takes the first of everything and remembers what it was asked."""

    def __init__(self):
        self.names = []

    def choose(self, name, count):
        self.names.append(name)
        return 0

    def number(self, name, low, high, *, is_log):
        self.names.append(name)
        return low

    def integer(self, name, low, high, *, step):
        self.names.append(name)
        return low


def test_a_dimension_is_asked_for_by_its_path_and_branch():
    asked = Questions()
    sample_overrides(dimensions(NESTED), asked)
    assert asked.names == [
        "method",
        "method[0].layers",
        "method[0].mixing",
        "optimization.betas[0].1",
    ]
    assert len(set(asked.names)) == len(asked.names)


# ---- wrong dimensions

WRONG = {
    "bounds the wrong way": ({"kind": "uniform", "low": 2, "high": 1}, ["low 2.0 is not below high 1.0", "swap"]),
    "equal bounds": ({"kind": "integer", "low": 3, "high": 3}, ["low 3 is not below high 3"]),
    "the logarithm of zero": ({"kind": "log-uniform", "low": 0, "high": 1}, ["space.x.low", "greater than 0"]),
    "a bound without end": ({"kind": "uniform", "low": 0, "high": float("inf")}, ["space.x.high", "finite"]),
    "no values": ({"kind": "choice", "values": []}, ["space.x.values", "at least 1"]),
    "no kind": ({"low": 0, "high": 1}, ["space.x", "kind"]),
    "unknown kind": ({"kind": "loguniform", "low": 1, "high": 2}, ["space.x", "unknown kind", "log-uniform"]),
    "a step of zero": ({"kind": "integer", "low": 0, "high": 4, "step": 0}, ["space.x.step", "greater than 0"]),
    "a fraction of a layer": ({"kind": "integer", "low": 0.5, "high": 4}, ["space.x.low", "whole number"]),
    "unknown key": ({"kind": "uniform", "low": 0, "high": 1, "log": True}, ["space.x.log", "unknown key"]),
    "a wrong one inside a branch": (
        {"kind": "choice", "values": [{"kind": "lst", "reduction": {"kind": "integer", "low": 8, "high": 2}}]},
        ["space.x.values", "low 8 is not below high 2"],
    ),
    "a wrong field inside a list inside a branch": (
        {"kind": "choice", "values": [[1, {"kind": "choice", "values": []}]]},
        ["space.x.values", "values: Tuple should have at least 1 item"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_dimension_is_one_line_that_names_the_field(case):
    dimension, words = WRONG[case]
    line = complaint({"x": dimension})
    assert line.startswith("sweep.yaml: space.x"), line
    assert "\n" not in line, line
    for word in words:
        assert word in line, line


def test_an_empty_space_is_refused():
    assert "space" in complaint({})


def test_right_dimensions_are_not_refused():
    assert parse_document(RandomSearch, {"arms": 3, "space": NESTED}, source="sweep.yaml").space == dimensions(NESTED)
