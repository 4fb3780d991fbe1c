"""A document of retrieval that cannot be is one line that names the path, what is allowed, and the fix."""

import pytest

from side4video.core.errors import InputError
from side4video.spec.check import check_files
from tiny import DOCUMENT, merged, tiny

TEXT = {"kind": "transformer", "width": 32, "layers": 1, "head_width": 8}
RETRIEVAL = {"task": {"kind": "retrieval"}, "backbone": {"text": TEXT}}
SEQUENCE = {"kind": "clip4clip-frozen", "similarity": "seq-transf"}
TOGETHER = {"kind": "clip4clip", "similarity": "tight-transf"}
LINEAR = {"kind": "linear"}


def kind(matching):
    return {"kind": "retrieval", "matching": {"kind": matching}}


WRONG = {
    # what is changed, and the words of the line
    "parts of a batch": (
        {"optimization": {"accumulation": 2}},
        ["optimization.accumulation: 2", "texts and videos of a batch", "allowed: 1", "fix: set it to 1"],
    ),
    "copies of a clip": (
        {"data": {"repeated_sampling": 2}},
        ["data.repeated_sampling: 2", "a wrong answer to its own text", "allowed: 1", "fix: set it to 1"],
    ),
    "two temporal views": (
        {"data": {"views": {"clips": 2}}},
        ["data.views: 2", "one feature stands for a video", "allowed: 1", "fix: set it to 1"],
    ),
    "three crops": ({"data": {"views": {"crops": 3}}}, ["data.views: 3", "allowed: 1", "fix: set it to 1"]),
    "a backbone without texts": (
        {"backbone": {"text": {"kind": "none"}}},
        ["backbone: vit has no text tower", "allowed: kind: open-clip, or kind: vit with text", "fix: name such"],
    ),
    "a method of recognition": (
        {"method": LINEAR},
        ["method.kind: linear, and the task is retrieval", "allowed: for linear: recognition", "another method"],
    ),
    "a method of retrieval alone": (
        {"method": {"kind": "clip4clip-frozen"}, "task": {"kind": "recognition"}},
        ["method.kind: clip4clip-frozen, and the task is recognition", "allowed: for clip4clip-frozen: retrieval"],
    ),
    "words for CLIP4Clip's mean": (
        {"method": {"kind": "clip4clip-frozen"}},
        [
            "task.matching.kind: token-wise, and method.similarity is meanp",
            "allowed: mean",
            "fix: set task.matching to {kind: mean",
        ],
    ),
    "tight for a sequence": (
        {"method": SEQUENCE, "task": kind("tight")},
        ["task.matching.kind: tight, and method.similarity is seq-transf", "allowed: mean", "{kind: mean}"],
    ),
    "a mean for tight": (
        {"method": TOGETHER, "task": kind("mean")},
        ["task.matching.kind: mean, and method.similarity is tight-transf", "allowed: tight", "{kind: tight}"],
    ),
    "tight for side4video": (
        {"task": kind("tight")},
        [
            "task.matching.kind: tight, and the method is side4video",
            "allowed: query-weighted, mean, token-wise",
            "{kind: token-wise}",
        ],
    ),
    "a tower trained in half precision": (
        {"method": {"kind": "clip4clip"}, "task": kind("mean"), "backbone": {"text": TEXT, "precision": "bf16"}},
        ["backbone.precision: bf16, and the method clip4clip trains", "allowed: fp32", "fix: set it to fp32"],
    ),
    "kept features of a trained tower": (
        {"method": {"kind": "clip4clip"}, "task": kind("mean"), "features": {"kind": "cached"}},
        ["features.kind: cached, and the method clip4clip changes the tower", "fix: set features to {kind: computed}"],
    ),
    "two words": ({"task": {"words": 2}}, ["task.words: 2", "at least 3"]),
    "more words than CLIP has": ({"task": {"words": 78}}, ["task.words: 78", "at most 77"]),
    "unknown matching": ({"task": kind("token-wize")}, ["task.matching", "did you mean token-wise?"]),
    "unknown rescoring": (
        {"task": {"rescoring": {"kind": "dual_softmax"}}},
        ["task.rescoring", "did you mean dual-softmax?"],
    ),
    "a scale of zero": ({"task": {"largest_logit_scale": 0}}, ["task.largest_logit_scale: 0", "greater than 0"]),
    "recognition's field": ({"task": {"label_smoothing": 0.1}}, ["task.label_smoothing: unknown key"]),
    "text, trained a little": ({"task": {"text": "some"}}, ["task.text: 'some'", "as-authors, trained, frozen"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistake(case):
    changes, words = WRONG[case]
    with pytest.raises(InputError) as caught:
        tiny(**merged(RETRIEVAL, changes))
    line = str(caught.value)
    assert "\n" not in line, line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": kind("mean")},
        {"method": {"kind": "clip4clip-frozen"}, "task": kind("mean")},
        {"method": SEQUENCE, "task": kind("mean")},
        {"method": TOGETHER, "task": kind("tight")},
        {"method": {"kind": "zero-shot"}},
        {"features": {"kind": "cached", "views": 2}},
        {"cluster": {"workers": 2}},
    ],
    ids=str,
)
def test_what_is_right_is_taken(changes):
    assert tiny(**merged(RETRIEVAL, changes)).task.kind == "retrieval"


def test_clips_without_a_caption_are_named(tmp_path):
    (tmp_path / "all.csv").write_text("path,label,split\na.mp4,0,train\nb.mp4,1,test\n")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    dataset = {"kind": "list", "annotations": str(tmp_path / "all.csv"), "mirror": {"kind": "pairs", "pairs": []}}
    experiment = tiny(**merged(RETRIEVAL, {"data": {"dataset": dataset}}))
    with pytest.raises(InputError, match=r"all\.csv:2: 1 of 1 train clips have no caption.*allowed: .*fix: "):
        check_files(experiment)


def test_more_words_than_the_text_tower_has_are_refused():
    with pytest.raises(InputError, match=r"task\.words: 32.*allowed: .*16.*fix: "):
        tiny(**merged(RETRIEVAL, {"backbone": {"text": {**TEXT, "words": 16}}}))
    assert "text" not in DOCUMENT["backbone"]
