"""Sentences about videos: each video needs some, a name stands for one, the contents are in the fingerprint."""

import json

import pytest

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.descriptions import DescriptionsSpec, sentences_of
from side4video.data.spec import DataSpec
from side4video.spec.check import check_files, check_sentences
from side4video.spec.load import SpecError
from tiny import merged, tiny

CLIP = {"text": {"kind": "transformer", "width": 16, "layers": 2, "head_width": 8}, "output_dim": 24}
RETRIEVAL = {"kind": "retrieval", "words": 16, "matching": {"kind": "described"}}


def written(tmp_path, content, name="sentences.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def spec(file, **data):
    method = {"kind": "cap4video", "scores": "both"}
    return tiny(backbone=CLIP, task=RETRIEVAL, method=method, data=merged({"descriptions": {"file": file}}, data))


CLIPS = [Clip("/videos/train/1.mp4", None), Clip("/videos/train/2.mp4", None)]


def test_each_video_needs_a_sentence(tmp_path):
    described = DescriptionsSpec(file=written(tmp_path, {"1": ["a dog"], "2": []}))
    with pytest.raises(InputError) as caught:
        described.check(CLIPS)
    assert "data.descriptions.file: no sentence about 1 of 2 videos: 2 · allowed" in str(caught.value)
    DescriptionsSpec(file=written(tmp_path, {"1": ["a dog"], "2": ["a cat"]})).check(CLIPS)


def test_names_with_endings_match_nothing(tmp_path):
    described = DescriptionsSpec(file=written(tmp_path, {"1.mp4": ["a dog"], "2.mp4": ["a cat"]}))
    with pytest.raises(InputError, match="no sentence about 2 of 2 videos: 1, 2"):
        described.check(CLIPS)


def test_a_name_stands_for_one_video(tmp_path):
    clips = [CLIPS[0], Clip("/videos/test/1.mp4", None)]
    with pytest.raises(InputError) as caught:
        DescriptionsSpec(file=written(tmp_path, {"1": ["a dog"]})).check(clips)
    assert "the name '1' stands for two videos: /videos/train/1.mp4 and /videos/test/1.mp4" in str(caught.value)
    assert "fix: name their folders too: train/1, test/1" in str(caught.value)
    described = DescriptionsSpec(file=written(tmp_path, {"train/1": ["a dog"], "test/1": ["a cat"]}, "folders.json"))
    described.check(clips)
    assert [sentences_of(clip, described.sentences()) for clip in clips] == [("a dog",), ("a cat",)]
    # Spans of one file share its sentences.
    DescriptionsSpec(file=written(tmp_path, {"1": ["a dog"]}, "spans.json")).check([CLIPS[0], CLIPS[0]])


def test_other_sentences_are_another_fingerprint(tmp_path):
    def data(content, name):
        file = written(tmp_path, content, name)
        return DataSpec.model_validate({"dataset": {"kind": "motion"}, "descriptions": {"file": file}})

    one, other = data({"1": ["a dog"]}, "one.json"), data({"1": ["a cat"]}, "other.json")
    assert one.name_fingerprint("1f3a") != other.name_fingerprint("1f3a")
    assert one.name_fingerprint("1f3a").startswith("1f3a+sentences ")
    assert DataSpec.model_validate({"dataset": {"kind": "motion"}}).name_fingerprint("1f3a") == "1f3a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.descriptions.file: there is no file"),
        ("", "sentences.json"),
        ('["a"]', "sentences.json"),
        ('{"1": ["a', "sentences.json"),
        ('{"1": [2]}', "sentences.json:1[0]"),
    ],
)
def test_validate_reads_the_file(tmp_path, content, message):
    file = str(tmp_path / "missing.json") if content is None else written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        check_files(spec(file))
    assert message in str(caught.value)


def test_what_reads_none_needs_none(tmp_path):
    """Another arm of a pack may have a method that reads sentences; training may draw them as captions."""
    file = written(tmp_path, {"1": ["a dog"]})
    plain = tiny(
        backbone=CLIP,
        task={"kind": "retrieval", "words": 16, "matching": {"kind": "mean"}},
        method={"kind": "zero-shot"},
        data={"descriptions": {"file": file}},
    )
    check_sentences(plain, {"train": CLIPS, "test": CLIPS})
    drawn = plain.model_copy(
        update={"data": plain.data.model_copy(update={"descriptions": DescriptionsSpec(file=file, as_captions=1)})}
    )
    check_sentences(drawn, {"test": CLIPS})
    with pytest.raises(InputError, match="no sentence about 1 of 2"):
        check_sentences(drawn, {"train": CLIPS})
    with pytest.raises(InputError, match="no sentence about 1 of 2"):
        check_sentences(spec(file), {"test": CLIPS})


def test_recognition_reads_none(tmp_path):
    with pytest.raises(SpecError, match=r"data\.descriptions: given, and the task is recognition"):
        tiny(data={"descriptions": {"file": written(tmp_path, {})}})
