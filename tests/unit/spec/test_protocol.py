"""What decides the meaning of a figure, field by field: what does is told, what does not is passed over."""

import dataclasses

import numpy as np
import pytest

from side4video.core.dotted import dotted
from side4video.data.decode.augmentation import RelativeResizeSpec, ShortSideResizeSpec
from side4video.data.decode.sampling import CentreSampling, SegmentSampling
from side4video.data.decode.transforms import resize_for_test
from side4video.spec import protocol as module
from side4video.spec.protocol import (
    DATASET,
    VIDEOS,
    ComparedResult,
    comparison_errors,
    describe_differences,
    find_differences,
    protocol,
)
from tiny import tiny

TEXT_TOWER = {"kind": "transformer"}
RETRIEVAL = {
    "task": {"kind": "retrieval"},
    "backbone": {
        "kind": "vit",
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "head_width": 8,
        "weights": {"kind": "random", "seed": 0},
        "text": TEXT_TOWER,
    },
}

DECIDES = {
    # the field: what changes it
    "data.frames": {"data": {"frames": 8}},
    "data.sampling": {"data": {"sampling": {"kind": "dense"}}},
    "data.augmentation.resize": {"data": {"augmentation": {"resize": {"kind": "short-side", "pixels": 32}}}},
    "data.views.clips": {"data": {"views": {"clips": 2}}},
    "data.views.crops": {"data": {"views": {"crops": 3}}},
    "data.train_fraction": {"data": {"train_fraction": 0.5}},
    "evaluation.precision": {"evaluation": {"precision": "bf16"}},
}
DECIDES_RETRIEVAL = {
    "task.words": {"task": {"kind": "retrieval", "words": 16}},
    "task.keep": {"task": {"kind": "retrieval", "keep": "fp16"}},
}
TRAINING_ONLY = {
    "learning rate": {"optimization": {"learning_rate": 1e-5}},
    "batch": {"optimization": {"batch_size": 4}},
    "length": {"optimization": {"length": {"epochs": 1}}},
    "method": {"method": {"kind": "linear"}},
    "layers": {"method": {"layers": 1}},
    "weights": {"backbone": {"weights": {"kind": "random", "seed": 1}}},
    "seed": {"seed": 3},
    "smoothing": {"task": {"label_smoothing": 0.3}},
    "dropout": {"task": {"dropout": 0.5}},
    "crop": {"data": {"augmentation": {"crop": {"kind": "centre"}}}},
    "flips": {"data": {"augmentation": {"flip_probability": 0.0}}},
    "grey": {"data": {"augmentation": {"grayscale_probability": 0.2}}},
    "RandAugment": {"data": {"augmentation": {"random_augment": {"kind": "rand-augment"}}}},
    "repeated sampling": {"data": {"repeated_sampling": 2}},
    "decoder": {"data": {"decoder": "auto"}},
    "broken clips": {"data": {"broken_clips": {"kind": "skip"}}},
    "loader": {"data": {"loader": {"prefetch": 5}}},
    "evaluation batch": {"evaluation": {"batch_size": 3}},
    "evaluations": {"evaluation": {"every_epochs": 2}},
    "features": {"features": {"kind": "computed", "views": 2}},
    "names": {"name": "other", "tracking": {"run_name": "other"}},
    "cluster": {"cluster": {"max_failures": 1}},
    "test frames of segments": {"data": {"sampling": {"kind": "centre"}}},
    "32 pixels of 32": {"data": {"augmentation": {"resize": {"kind": "short-side", "pixels": 37}}}},
}


def compared(label, spec, **more):
    return ComparedResult(label, dotted(spec.resolved()), **more)


def between(changes, base=None, metrics=()):
    """What the experiment differs in from itself with changes."""
    specs = tiny(**(base or {})), tiny(**{**(base or {}), **changes})
    return find_differences([compared(*each) for each in zip("ab", specs, strict=True)], metrics=metrics)


def names(found):
    return [each.field for each in found]


@pytest.mark.parametrize("field", DECIDES)
def test_a_field_that_decides_is_told_with_values_and_labels(field):
    (found,) = between(DECIDES[field])
    assert found.field == field
    assert list(found.values.values()) == [("a",), ("b",)]
    assert found.is_hidden
    (problem,) = comparison_errors([found], where="s.yaml", anyway=(), fix=lambda each: f"mend {each.field}")
    for word in (f"s.yaml: {field}: ", *found.values, " in a; ", " in b: ", "allowed: ", f"fix: mend {field}"):
        assert word in str(problem), word


@pytest.mark.parametrize("field", DECIDES_RETRIEVAL)
def test_a_field_of_retrieval(field):
    assert names(between(DECIDES_RETRIEVAL[field], RETRIEVAL)) == [field]


@pytest.mark.parametrize("case", TRAINING_ONLY)
def test_what_only_training_sees_is_passed_over(case):
    assert between(TRAINING_ONLY[case]) == []


@pytest.mark.parametrize("field", [*DECIDES, *DECIDES_RETRIEVAL])
def test_twin_that_overlooks_a_field(field, monkeypatch):
    def without_field(fields, **options):
        return {name: text for name, text in protocol(fields, **options).items() if name != field}

    changes, base = {**DECIDES, **DECIDES_RETRIEVAL}[field], RETRIEVAL if field in DECIDES_RETRIEVAL else None
    monkeypatch.setattr(module, "protocol", without_field)
    assert between(changes, base) == []


def test_twin_that_counts_whole_sections(monkeypatch):
    def sections(fields, **_):
        return {name: text for name, text in fields.items() if name.split(".")[0] in ("task", "data", "evaluation")}

    monkeypatch.setattr(module, "protocol", sections)
    told = [case for case in TRAINING_ONLY if between(TRAINING_ONLY[case])]
    assert {"crop", "flips", "smoothing", "decoder", "loader", "evaluation batch"} <= set(told)


def test_a_field_that_nobody_has_named_yet_counts():
    assert protocol({"data.views.flips": "true", "task.new": "1", "method.new": "2"}).keys() == {
        "data.views.flips",
        "task.new",
    }


# ---- what is the same though it is written in another way


@pytest.mark.parametrize("total", [1, 3, 8, 31, 300])
@pytest.mark.parametrize("clips", [1, 4])
def test_centre_and_segment_look_at_the_same_test_frames(total, clips):
    for clip in range(clips):
        pair = [kind.test_indices(total, 8, clip=clip, clips=clips) for kind in (CentreSampling(), SegmentSampling())]
        assert np.array_equal(*pair)


def test_eight_sevenths_of_224_are_256():
    frames = np.random.default_rng(0).integers(0, 256, (1, 300, 400, 3), dtype=np.uint8)
    pair = [resize_for_test(frames, resize, 224) for resize in (RelativeResizeSpec(), ShortSideResizeSpec(pixels=256))]
    assert np.array_equal(*pair)
    fields = {
        "data.size": "224",
        "data.augmentation.resize.kind": "relative",
        "data.augmentation.resize.ratio": str(8 / 7),
    }
    other = {
        "data.size": "224",
        "data.augmentation.resize.kind": "short-side",
        "data.augmentation.resize.pixels": "256",
    }
    assert find_differences([ComparedResult("a", fields), ComparedResult("b", other)]) == []


def test_a_relative_resize_is_no_difference_beside_the_size():
    documents = [
        {"data.size": size, "data.augmentation.resize.kind": "relative", "data.augmentation.resize.ratio": "1.5"}
        for size in ("224", "336")
    ]
    assert names(find_differences([ComparedResult(each["data.size"], each) for each in documents])) == ["data.size"]
    documents[1]["data.augmentation.resize.ratio"] = "1.0"
    found = names(find_differences([ComparedResult(each["data.size"], each) for each in documents]))
    assert found == ["data.size"]  # both 336 pixels by now
    documents[1]["data.augmentation.resize.ratio"] = "1.25"
    found = names(find_differences([ComparedResult(each["data.size"], each) for each in documents]))
    assert found == ["data.size", "data.augmentation.resize"]


def test_of_another_task_only_the_task_is_told():
    assert names(between({**RETRIEVAL})) == ["task.kind"]


# ---- what the metric is made with


def test_a_loss_is_made_with_the_smoothing():
    smoothing = TRAINING_ONLY["smoothing"]
    assert names(between(smoothing, metrics=["eval/loss"])) == ["task.label_smoothing"]
    assert names(between(smoothing, metrics=["eval/top1"])) == []


def test_a_rescored_metric_is_made_with_its_rescoring():
    changes = {"task": {"kind": "retrieval", "rescoring": {"kind": "dual-softmax", "temperature": 7.0}}}
    base = {**RETRIEVAL, "task": {"kind": "retrieval", "rescoring": {"kind": "dual-softmax"}}}
    assert names(between(changes, base, metrics=["eval/t2v_r1_dual_softmax"])) == ["task.rescoring.temperature"]
    assert names(between(changes, base, metrics=["eval/t2v_r1"])) == []


# ---- what a run records


def recorded(label, **facts):
    return ComparedResult(label, {}, {DATASET: "fingerprint a", VIDEOS: "20", **facts})


def test_other_data_and_fewer_videos():
    assert names(find_differences([recorded("a"), recorded("b", **{DATASET: "fingerprint b"})])) == [DATASET]
    assert names(find_differences([recorded("a"), recorded("b", **{VIDEOS: "19"})])) == [VIDEOS]
    other = {DATASET: "fingerprint b", VIDEOS: "30"}
    assert names(find_differences([recorded("a"), recorded("b", **other)])) == [
        DATASET
    ]  # of another set, another number
    three = [recorded("a"), recorded("b", **other), recorded("c", **other | {VIDEOS: "29"})]
    assert names(find_differences(three)) == [DATASET, VIDEOS]


# ---- what a column tells


def shown(label, spec, **columns):
    return compared(label, spec, shown=columns)


def frames_compared(*columns):
    specs = [tiny(), tiny(data={"frames": 8})]
    return [shown(str(n), spec, **each) for n, (spec, each) in enumerate(zip(specs, columns, strict=True))]


def with_frames(*columns):
    return find_differences(frames_compared(*columns))


def test_a_column_that_tells_them_apart_makes_a_difference_known():
    (found,) = with_frames({"data.frames": "4"}, {"data.frames": "8"})
    assert found.is_shown
    assert not found.is_hidden
    assert comparison_errors([found], where="", anyway=(), fix=lambda each: "") == []
    assert describe_differences([found]) == [
        "Arms differ in data.frames, as the columns say: their figures answer different questions."
    ]


def test_a_column_about_something_else_does_not():
    (found,) = with_frames({"data.views.clips": "1"}, {"data.views.clips": "2"})
    assert found.is_hidden


def test_a_column_that_says_the_same_of_both_does_not():
    """A section is told by its kind: two of one kind may differ inside."""
    specs = [tiny(data={"sampling": {"kind": "dense", "stride": stride}}) for stride in (2, 4)]
    (found,) = find_differences([shown(str(n), spec, **{"data.sampling": "dense"}) for n, spec in enumerate(specs)])
    assert found.field == "data.sampling"
    assert found.is_hidden
    columns = [{"data.sampling.stride": "2"}, {"data.sampling.stride": "4"}]
    (found,) = find_differences([shown("", spec, **each) for spec, each in zip(specs, columns, strict=True)])
    assert not found.is_hidden


def test_twin_that_takes_any_column_for_an_answer():
    columns = {"data.views.clips": "1"}, {"data.views.clips": "2"}
    (found,) = with_frames(*columns)
    is_shown = any(each.shown for each in frames_compared(*columns))
    assert not dataclasses.replace(found, is_shown=is_shown).is_hidden


def test_seeds_of_the_data_path_are_told_and_not_refused():
    (found,) = between({"data": {"seed": 4}})
    assert found.field == "data.seed"
    assert comparison_errors([found], where="", anyway=(), fix=lambda each: "") == []
    assert describe_differences([found]) == ["data.seed differs: 0 in a; 4 in b."]


def test_what_somebody_allowed_is_said():
    found = between(DECIDES["data.frames"])
    assert comparison_errors(found, where="", anyway=["data.frames"], fix=lambda each: "") == []
    assert describe_differences(found)[0].startswith("Compared although data.frames differs: 4 in a; 8 in b.")


def test_many_labels_are_cut():
    many = [compared(f"arm {n}", tiny()) for n in range(7)] + [compared("odd", tiny(data={"frames": 8}))]
    assert str(find_differences(many)[0]) == "4 in arm 0, arm 1, arm 2 and 4 more; 8 in odd"
