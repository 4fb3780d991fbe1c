"""Frozen features as entries: declared as they come, and the same bits on the way there and back."""

import pytest
import torch

import toys
from side4video.models import frozen_features as frozen_module
from side4video.models.feature_request import EMBEDDING, FeatureRequest
from side4video.models.frozen_features import (
    empty_entries,
    entry_layouts,
    features_of_batch,
    from_entries,
    frozen_features,
    request_of,
    to_entries,
)
from side4video.models.layers.int8 import Int8Tokens

READS = {
    "tokens": FeatureRequest(frozenset({EMBEDDING, 1, 3})),
    "pooled": FeatureRequest(pooled=True),
    "every second frame": FeatureRequest(frozenset({2}), pooled=True, every=2),
    "every third frame": FeatureRequest(frozenset({0}), every=3),
    "nothing": FeatureRequest(),
}
ATTENTION = FeatureRequest(frozenset({3}), frozenset({1, 3}))
CASES = [
    *((reads, family) for reads in READS.values() for family in toys.FAMILIES),
    (ATTENTION, "clip"),
]
TOWERS = [("fp32", "own-precision"), ("bf16", "own-precision"), ("bf16", "8-bit"), ("fp32", "8-bit")]


def layouts_of(tower, reads):
    return entry_layouts(tower.shape, reads, frames=toys.FRAMES, dtype=tower.dtype, keeps_int8=tower.keeps_int8)


def flat(layouts):
    return {name: row for layout in layouts.values() for name, row in layout.items()}


@pytest.mark.parametrize(("precision", "kept"), TOWERS)
@pytest.mark.parametrize(("reads", "family"), CASES)
def test_what_is_declared_comes(reads, family, precision, kept):
    tower = toys.toy_tower(precision, family, kept)
    video = toys.make_batch(0, size=3).video_BTCHW
    stored = to_entries(frozen_features(tower, video, reads))
    declared = flat(layouts_of(tower, reads))
    assert {name: (tensor.dtype, tensor.shape[1:]) for name, tensor in stored.items()} == {
        name: (row.dtype, row.shape) for name, row in declared.items()
    }
    assert all(len(tensor) == 3 for tensor in stored.values())
    blank = empty_entries(layouts_of(tower, reads), 3, torch.device("cpu"))
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in stored.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in blank.items()
    }


def same(one, other):
    def bits(features):
        tensors = {}
        for tap, kept in features.tokens.items():
            eight = isinstance(kept, Int8Tokens)
            tensors |= {f"{tap}a": kept.codes_NPD, f"{tap}b": kept.scales_NPG} if eight else {f"{tap}": kept}
        for tap, pair in features.attention.items():
            tensors |= {f"queries{tap}": pair[0], f"keys{tap}": pair[1]}
        return tensors | ({} if features.pooled_BTD is None else {"pooled": features.pooled_BTD})

    left, right = bits(one), bits(other)
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize(("precision", "kept"), TOWERS)
@pytest.mark.parametrize(("reads", "family"), CASES)
def test_there_and_back_is_the_same(reads, family, precision, kept):
    tower = toys.toy_tower(precision, family, kept)
    video = toys.make_batch(0, size=3).video_BTCHW
    features = frozen_features(tower, video, reads)
    again = from_entries(tower, video, to_entries(features), reads=reads)
    assert same(features, again)
    assert again.video_BTCHW is video
    assert torch.equal(again.normalise(video), features.normalise(video))


def test_twin_that_exchanges_queries_and_keys(monkeypatch):
    tower, video = toys.toy_tower(), toys.make_batch(0, size=3).video_BTCHW
    features = frozen_features(tower, video, ATTENTION)
    stored = to_entries(features)
    stored["attention-1.keys"], stored["attention-1.queries"] = (
        stored["attention-1.queries"],
        stored["attention-1.keys"],
    )
    assert not same(features, from_entries(tower, video, stored, reads=ATTENTION))


def test_twin_that_rounds(monkeypatch):
    """Kept in half of the tower's precision: another student."""
    tower, video, reads = toys.toy_tower(), toys.make_batch(0, size=3).video_BTCHW, READS["tokens"]
    features = frozen_features(tower, video, reads)
    rounded = {name: tensor.half().float() for name, tensor in to_entries(features).items()}
    assert not same(features, from_entries(tower, video, rounded, reads=reads))


@pytest.mark.parametrize(("reads", "family"), CASES)
def test_names_say_what_to_read(reads, family):
    assert request_of(layouts_of(toys.toy_tower(family=family), reads), reads.every) == reads


def test_less_is_read_of_more():
    """A pack whose deepest reader has gone reads on from the same files."""
    tower, video = toys.toy_tower(), toys.make_batch(0, size=3).video_BTCHW
    less, more = FeatureRequest(frozenset({1})), FeatureRequest(frozenset({1, 3}), frozenset({2}), pooled=True)
    stored = to_entries(frozen_features(tower, video, more))
    assert same(from_entries(tower, video, stored, reads=less), frozen_features(tower, video, less))


def test_a_batch_that_brings_its_features_needs_no_tower(monkeypatch):
    tower, batch, reads = toys.toy_tower(), toys.make_batch(0), READS["tokens"]
    features = features_of_batch(tower, batch, reads)
    batch.stored = to_entries(features)

    def run(*_args, **_options):
        raise AssertionError("the tower runs")

    monkeypatch.setattr(type(tower), "stream", run)
    assert same(features, features_of_batch(tower, batch, reads))
    # The twin looks for them elsewhere.
    batch.kept, batch.stored = batch.stored, None
    with pytest.raises(AssertionError, match="the tower runs"):
        features_of_batch(tower, batch, reads)


def test_a_name_stands_for_one_thing():
    names = [frozen_module._name(kind, tap) for kind in ("tokens-", "attention-") for tap in (EMBEDDING, 0, 1, 11)]
    assert len({*names, frozen_module.POOLED}) == len(names) + 1


def test_weights_that_were_let_go_of():
    """Sizes, fingerprint and normalisation stay; frames do not pass; nothing of the weights is held."""
    for family in toys.FAMILIES:
        for precision in ("fp32", "8-bit"):
            tower = toys.new_tower(precision, family)
            shape, fingerprint, video = tower.shape, tower.fingerprint(), toys.make_batch(0).video_BTCHW
            pixels = tower.normalise(video)
            tower.release_weights()
            assert (tower.shape, tower.fingerprint()) == (shape, fingerprint)
            assert torch.equal(tower.normalise(video), pixels)
            assert all(tensor.is_meta for tensor in tower.trunk.visual.parameters())
            assert str(tower.device) == "cpu"
