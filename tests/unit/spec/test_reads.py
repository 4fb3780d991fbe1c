"""What a method reads beside the frames must be in the data section."""

import pytest

from side4video.spec.load import SpecError
from tiny import tiny

RETRIEVAL = {
    "task": {"kind": "retrieval", "words": 16, "matching": {"kind": "mean"}},
    "method": {"kind": "zero-shot"},
    "backbone": {"text": {"kind": "transformer"}},
}
DIFFERENCES = {"kind": "side4video", "layers": 2, "dim": 64, "stem": "differences"}


def test_a_stem_of_differences_needs_two_neighbours():
    assert tiny(method=DIFFERENCES, data={"neighbours": 2}).reads.neighbours == 2
    for neighbours in (0, 1, 3):
        with pytest.raises(SpecError, match=r"data\.neighbours.*fix: set data.neighbours to 2"):
            tiny(method=DIFFERENCES, data={"neighbours": neighbours})


def test_neighbours_that_a_method_does_not_read_are_allowed():
    """Other arms of a sweep may read them."""
    assert tiny(data={"neighbours": 2}).reads.neighbours == 0


@pytest.mark.parametrize(
    ("data", "field", "changes"),
    [
        ({"neighbours": 2}, "data.neighbours", {}),
        ({"descriptions": {"file": "sentences.json"}}, "data.descriptions", RETRIEVAL),
    ],
)
def test_a_cache_of_features_does_not_keep_them(data, field, changes):
    augmentation = {"flip_probability": 0, "crop": {"kind": "centre"}}
    data = {"sampling": {"kind": "centre"}, "augmentation": augmentation, **data}
    with pytest.raises(SpecError, match=f"cached, and {field} is set"):
        tiny(data=data, features={"kind": "cached", "views": 1}, **changes)


def test_one_frame_a_second_is_for_retrieval():
    with pytest.raises(SpecError, match="whose methods do not mask frames"):
        tiny(data={"sampling": {"kind": "one-per-second"}})


@pytest.mark.parametrize("kind", ["multi-label", "multi-head"])
@pytest.mark.parametrize("data", [{"classes": "base"}, {"shots": 2}])
def test_halves_and_shots_are_of_clips_with_one_class(kind, data):
    (field,) = data
    with pytest.raises(SpecError, match=rf"data\.{field}: .*, and the task is {kind}"):
        tiny(task={"kind": kind}, data=data)
