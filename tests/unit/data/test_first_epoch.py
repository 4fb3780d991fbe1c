"""Which epoch of the order of clips a run sees."""

import pytest

from side4video.core.errors import InputError
from side4video.data.first_epoch import epoch_of_order, shortest_first_epoch
from side4video.spec import parse_experiment
from side4video.spec.load import apply_override
from tiny import DOCUMENT, merged, tiny


@pytest.mark.parametrize(
    ("first", "seen"),
    [(0, [0, 1, 2, 3]), (3, [3, 4, 5, 6]), ((3, 4, 9), [3, 4, 9, 10]), ((0, 5, 6, 8), [0, 5, 6, 8])],
)
def test_own_epochs_see_these(first, seen):
    assert [epoch_of_order(first, own) for own in range(4)] == seen
    assert [epoch_of_order(shortest_first_epoch(seen), own) for own in range(4)] == seen


def test_only_what_differs_from_going_on_is_named():
    assert shortest_first_epoch([3, 4, 5]) == 3
    assert shortest_first_epoch([3, 4, 9, 10]) == (3, 4, 9)
    assert shortest_first_epoch([]) == 0


@pytest.mark.parametrize("value", [-1, [], [3, 3], [3, 2], "x", {0: 3}])
def test_what_is_no_first_epoch_is_refused(value):
    with pytest.raises(InputError, match=r"first_epoch.* · allowed: .* · fix: ") as caught:
        tiny(data={"first_epoch": value})
    assert "\n" not in str(caught.value)


def test_it_is_part_of_the_digest_only_if_it_is_given():
    assert tiny().digest() == tiny(data={"first_epoch": 0}).digest()
    assert tiny().digest() != tiny(data={"first_epoch": 1}).digest()
    parts = tiny(data={"first_epoch": [1, 4]})
    assert parse_experiment(parts.resolved()).digest() == parts.digest()


def test_it_can_be_set_on_the_command_line():
    document = merged(DOCUMENT, {})
    apply_override(document, "data.first_epoch=[1, 4]")
    assert parse_experiment(document).data.first_epoch == (1, 4)
