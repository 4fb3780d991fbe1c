"""Mixed clips in a document: what they change of an experiment, where they cannot be, and what stays as it was."""

import hashlib
import json
from pathlib import Path

import pytest

from side4video.cli.schema import experiment_schema
from side4video.core.errors import InputError
from side4video.data.features.store import data_identity
from side4video.planning.advice import _smaller_batch_parts
from side4video.planning.feature_cache import ClipCounts
from side4video.planning.meta_model import build_meta_model
from side4video.planning.plan import plan_experiment
from side4video.spec import load_experiment, parse_experiment
from side4video.spec.check import check_consistency
from side4video.spec.digest import _NO_EFFECT_ON_RESULT
from side4video.spec.load import SpecError
from tiny import tiny

FILES = sorted((Path(__file__).resolve().parents[3] / "experiments").rglob("dist-*.yaml"))
KINDS = ("mixup", "cutmix", "mixup-or-cutmix")
TEXT = {"kind": "transformer", "width": 32, "layers": 1, "head_width": 8}


def mixed(kind="mixup-or-cutmix", *, data=None, **changes):
    fields = changes.pop("mix", {})
    return tiny(data={**(data or {}), "augmentation": {"mix": {"kind": kind, **fields}}}, **changes)


def hash_of_before(spec):
    """The hash that a document had when clips could not be mixed."""
    identity = spec.without_new_defaults(spec.model_dump(mode="json", exclude=_NO_EFFECT_ON_RESULT))
    del identity["data"]["augmentation"]["mix"]
    identity["cluster"]["gpus_per_worker"] = 0.0  # the default was 0, and is `auto`
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_an_experiment_that_mixes_nothing_keeps_its_name():
    assert tiny().resolved()["data"]["augmentation"]["mix"] == {"kind": "none"}
    assert tiny().digest() == mixed("none").digest() == hash_of_before(tiny())
    assert parse_experiment(tiny().resolved()) == tiny()


def test_each_way_of_mixing_is_another_experiment():
    specs = [tiny(), *map(mixed, KINDS)]
    specs += [mixed("mixup", mix={"alpha": 0.2}), mixed("mixup", mix={"probability": 0.5})]
    specs += [mixed(mix={"cutmix_probability": 0.3})]
    assert len({spec.digest() for spec in specs}) == len(specs)
    for spec in specs:
        assert parse_experiment(spec.resolved()) == spec
        assert spec.data.augmentation.mixes_clips == (spec != tiny())


def test_arms_that_mix_otherwise_do_not_share_a_pass():
    check_consistency({"one": mixed("mixup"), "two": mixed("mixup", method={"kind": "linear"})})
    for other in (tiny(), mixed("cutmix"), mixed("mixup", mix={"alpha": 0.7})):
        with pytest.raises(InputError, match="two: data: differs"):
            check_consistency({"one": mixed("mixup"), "two": other})


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_not_mixed(kind):
    with pytest.raises(
        SpecError, match=rf"data\.augmentation\.mix: {kind}, and the task is retrieval: .*no text"
    ) as caught:
        mixed(kind, task={"kind": "retrieval"}, backbone={"text": TEXT})
    assert "fix: set data.augmentation.mix to {kind: none}" in str(caught.value)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"kind": "cached", "views": 4}, "kept on disk"),
        ({"kind": "cached"}, "kept on disk"),
        ({"kind": "computed", "views": 4}, "those of 4 views"),
    ],
)
def test_a_finite_pool_is_not_mixed(features, words):
    with pytest.raises(SpecError, match=rf"features: {words}, and mixup mixes a clip .*in each epoch") as caught:
        mixed("mixup", features=features)
    assert "fix: set features to {kind: computed}" in str(caught.value)
    assert mixed("mixup", features={"kind": "computed", "views": "endless"}).features.pool is None


@pytest.mark.parametrize(
    ("batch_size", "workers", "accumulation", "allowed", "fix"),
    [(7, 1, 1, 2, 6), (1, 1, 1, 2, 2), (6, 2, 1, 4, 4), (2, 2, 1, 4, 4), (12, 2, 2, 8, 8)],
)
def test_each_worker_has_pairs(batch_size, workers, accumulation, allowed, fix):
    sizes = {"optimization": {"batch_size": batch_size, "accumulation": accumulation}, "cluster": {"workers": workers}}
    with pytest.raises(SpecError, match=rf"optimization\.batch_size: {batch_size} videos .*in pairs") as caught:
        mixed("cutmix", **sizes)
    assert f"allowed: multiples of {allowed} · fix: set it to {fix}" in str(caught.value)
    tiny(**sizes)
    mixed("cutmix", **{**sizes, "optimization": {"batch_size": fix, "accumulation": accumulation}})


def test_kept_features_are_found_again():
    """What is kept of clips does not know of mixing, and is called as before."""
    facts = {"fingerprint": "", "mirrored": {}}
    for split in ("train", "test"):
        assert "mix" not in data_identity(tiny().data, split, **facts)["augmentation"]
    assert "crop" in data_identity(tiny().data, "train", **facts)["augmentation"]


def test_a_plan_counts_both_labels_and_offers_no_cache():
    plain, spec = (plan_experiment(each, classes=10, clips=ClipCounts(20, 20)) for each in (tiny(), mixed()))
    assert plain.feature_cache is not None
    assert spec.feature_cache is None
    assert spec.multiply_adds_student == plain.multiply_adds_student
    assert spec.held_for_backward_gib > plain.held_for_backward_gib
    assert build_meta_model(mixed(), classes=10).task.mixes_labels


def test_advice_leaves_pairs_whole():
    whole, pairs = (_smaller_batch_parts(spec) for spec in (tiny(), mixed()))
    assert [change.settings for change in whole][-1] == ("optimization.accumulation=8",)
    assert [change.settings for change in pairs][-1] == ("optimization.accumulation=4",)


def test_the_schema_knows_each_kind():
    definitions = experiment_schema()["$defs"]
    assert {"NoMixSpec", "MixupSpec", "CutMixSpec", "MixupOrCutMixSpec"} <= definitions.keys()
    assert "mix" in definitions["AugmentationSpec"]["properties"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dists_recipe_mixes_as_its_authors_do(file):
    mix = load_experiment(file).data.augmentation.mix
    assert (mix.kind, mix.mixup_alpha, mix.cutmix_alpha, mix.cutmix_probability) == ("mixup-or-cutmix", 0.8, 1.0, 0.5)


@pytest.mark.parametrize(
    ("videos", "parts", "is_allowed"),
    [
        (4, 1, False),
        (6, 1, True),
        (7, 1, False),
        (8, 1, True),
        (9, 1, False),
        (10, 2, False),
        (12, 2, True),
        (13, 2, False),
    ],
)
def test_workers_that_come_and_go_need_pairs_however_many_they_are(videos, parts, is_allowed):
    """Two to three of them: an even number of videos, and two for each part of the most."""
    sizes = {"optimization": {"batch_size": videos, "accumulation": parts}, "cluster": {"workers": [2, 3]}}
    if is_allowed:
        assert mixed("mixup", **sizes).optimization.batch_size == videos
        return
    with pytest.raises(SpecError, match=r"optimization\.batch_size"):
        mixed("mixup", **sizes)
