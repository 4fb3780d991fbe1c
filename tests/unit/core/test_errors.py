"""The one line of an error: where, what was found, what is allowed, the fix; what helps most is read first."""

import pickle

import pytest

from side4video.core.errors import MAX_LISTED, InputError


def names(count):
    return ", ".join(f"name-{number}" for number in range(count))


@pytest.mark.parametrize("count", [1, 2, MAX_LISTED])
def test_a_short_list_of_what_is_allowed_stands_before_the_fix(count):
    said = str(InputError("a.b", "3", allowed=names(count), fix="set it to name-0"))
    assert said == f"a.b: 3 · allowed: {names(count)} · fix: set it to name-0"


@pytest.mark.parametrize("count", [MAX_LISTED + 1, 60])
def test_a_long_one_stands_behind_it(count):
    error = InputError("a.b", "3", allowed=names(count), fix="set it to name-0")
    assert str(error) == f"a.b: 3 · fix: set it to name-0 · allowed: {names(count)}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - made here
    assert error.allowed == names(count)


def test_parts_that_are_not_given_are_left_out():
    assert str(InputError("a", "3")) == "a: 3"
    assert str(InputError("a", "3", allowed=names(20))) == f"a: 3 · allowed: {names(20)}"
    assert str(InputError("a", "3", fix="b")) == "a: 3 · fix: b"
