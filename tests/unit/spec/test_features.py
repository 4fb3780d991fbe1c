"""The section `features`: what may be kept, what it changes, and what it does not."""

import pytest

from side4video.data.features import training_draws
from side4video.spec import parse_experiment
from side4video.spec.check import check_files
from side4video.spec.load import SpecError
from tiny import DOCUMENT, merged, tiny

STILL = {"sampling": {"kind": "centre"}, "augmentation": {"crop": {"kind": "resize"}, "flip_probability": 0.0}}
DRAWS = {
    "segment sampling": {"sampling": {"kind": "segment"}},
    "authors-ssv sampling": {"sampling": {"kind": "authors-ssv"}},
    "authors-k400 sampling": {"sampling": {"kind": "authors-k400"}},
    "dense sampling": {"sampling": {"kind": "dense"}},
    "random crops": {"augmentation": {"crop": {"kind": "random-resized"}}},
    "flips": {"augmentation": {"flip_probability": 0.5}},
    "grey clips": {"augmentation": {"grayscale_probability": 0.2}},
    "RandAugment": {"augmentation": {"random_augment": {"kind": "rand-augment"}}},
}
CHANGING = ("full", "aim", "st-adapter")


def cached(views=None, **changes):
    features = {"kind": "cached"} | ({} if views is None else {"views": views})
    return tiny(features=features, **changes)


def test_features_are_computed_unless_said_otherwise_and_the_document_says_so():
    assert tiny().resolved()["features"] == {"kind": "computed", "views": "endless"}
    assert tiny().features.pool is None
    assert tiny(features={"kind": "computed", "views": 4}).features.pool == 4
    assert cached(4).resolved()["features"] == {
        "kind": "cached",
        "views": 4,
        "folder": "",
        "limit_gib": 100.0,
        "shard_clips": 64,
    }
    assert parse_experiment(cached(4).resolved()) == cached(4)


@pytest.mark.parametrize("cause", DRAWS)
def test_what_differs_from_epoch_to_epoch_is_not_kept_unasked(cause):
    data = merged({"data": STILL}, {"data": DRAWS[cause]})["data"]
    assert training_draws(tiny(data=data).data) == [cause]
    with pytest.raises(SpecError, match=rf"features\.views: not given, .*\({cause}\).* · fix: views: 4"):
        cached(data=data)
    assert cached(3, data=data).features.pool == 3
    assert tiny(data=data).features.pool is None


def test_all_causes_are_named_at_once():
    with pytest.raises(SpecError, match=r"\(segment sampling, random crops, flips\)") as caught:
        cached()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"repeated_sampling": 2},
        {"augmentation": {"flip_probability": 1.0, "grayscale_probability": 1.0}},
        {"views": {"clips": 3}},
    ],
    ids=["nothing", "copies", "always flipped", "test views"],
)
def test_what_draws_nothing_has_one_view(change):
    data = merged({"data": STILL}, {"data": change})["data"]
    assert training_draws(tiny(data=data).data) == []
    assert cached(data=data).features.pool == 1


@pytest.mark.parametrize("kind", CHANGING)
def test_a_tower_that_changes_is_not_kept(kind):
    with pytest.raises(SpecError, match=rf"features\.kind: cached, and the method {kind} changes the tower") as caught:
        cached(4, method={"kind": kind})
    assert "fix: set features to {kind: computed}" in str(caught.value)
    assert tiny(method={"kind": kind}, features={"kind": "computed", "views": 4}).features.pool == 4


@pytest.mark.parametrize(
    ("features", "where"),
    [
        ({"kind": "cached", "views": 0}, "features.views"),
        ({"kind": "cached", "views": 2, "limit_gib": 0}, "features.limit_gib"),
        ({"kind": "cached", "views": 2, "shard_clips": 12}, "features.shard_clips"),
        ({"kind": "computed", "folder": "x"}, "features.folder"),
        ({"kind": "stored"}, "features"),
    ],
)
def test_wrong_values(features, where):
    with pytest.raises(SpecError) as caught:
        tiny(features=features)
    assert where in str(caught.value)


def test_the_pool_changes_results_and_where_it_lies_does_not():
    base = cached(2)
    same = [
        {"kind": "cached", "views": 2, "folder": "elsewhere"},
        {"kind": "cached", "views": 2, "limit_gib": 7},
        {"kind": "cached", "views": 2, "shard_clips": 8},
    ]
    assert {tiny(features=features).digest() for features in same} == {base.digest()}
    others = [cached(3), tiny(), tiny(features={"kind": "computed", "views": 2})]
    assert len({base.digest(), *(other.digest() for other in others)}) == 4


def test_packs_agree_on_it():
    assert tiny().shared()["features"] != cached(2).shared()["features"]
    assert cached(2).shared() != cached(3).shared()
    assert cached(2, method={"kind": "linear"}).shared() == cached(2).shared()


def test_a_folder_may_hold_a_variable_that_is_set(monkeypatch):
    spec = parse_experiment(merged(DOCUMENT, {"features": {"kind": "cached", "views": 2, "folder": "${FEATURES}/x"}}))
    monkeypatch.delenv("FEATURES", raising=False)
    with pytest.raises(Exception, match=r"features\.folder: the environment variable FEATURES"):
        check_files(spec)
    monkeypatch.setenv("FEATURES", "/somewhere")
    check_files(spec)


def test_captions_are_drawn_too():
    """Kept once, a clip would have one caption for ever."""
    whole = {"kind": "cached"}
    data = STILL
    text = {"backbone": {"output_dim": 16, "text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}}}
    assert tiny(data=data, features=whole)
    with pytest.raises(SpecError, match=r"captions.*views: 4"):
        tiny(data=data, features=whole, task={"kind": "retrieval"}, **text)
    assert tiny(data=data, features={**whole, "views": 2}, task={"kind": "retrieval"}, **text)
