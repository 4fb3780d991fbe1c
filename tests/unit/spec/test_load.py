"""Overrides of documents: `--set PATH=VALUE`."""

import pytest

from side4video.spec.load import apply_override


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("overrides.data.train_clips=160", {"data.train_clips": 160, "length": {"epochs": 6}}),
        ("overrides.length.epochs=2", {"data.train_clips": 480, "length": {"epochs": 6}, "length.epochs": 2}),
        ("overrides.seed=1", {"data.train_clips": 480, "length": {"epochs": 6}, "seed": 1}),
        ("overrides.data.frames=8", {"data.train_clips": 480, "length": {"epochs": 6}, "data.frames": 8}),
    ],
)
def test_overrides_of_a_sweep_are_paths(setting, expected):
    document = {"overrides": {"data.train_clips": 480, "length": {"epochs": 6}}}
    apply_override(document, setting)
    assert document["overrides"] == expected
    assert list(document["overrides"]) == list(expected)  # a later key is applied to the value of an earlier one


def test_other_paths_make_sections():
    document = {"data": {"train_clips": 480}}
    apply_override(document, "data.frames=8")
    apply_override(document, "optimization.length.epochs=2")
    assert document == {"data": {"train_clips": 480, "frames": 8}, "optimization": {"length": {"epochs": 2}}}
