"""VATEX in Chinese: `chCap` of the official files, for backbones that read it."""

import json

import pytest

from side4video.core.errors import InputError
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.spec import parse_experiment
from side4video.spec.check import check_files

CLIP = "G9zN5TTuGO4_000179_000189"
BACKBONES = {
    "clip": ("ViT-B-16", False),
    "siglip": ("ViT-B-16-SigLIP", False),
    "siglip-2": ("ViT-B-16-SigLIP2", True),
    "siglip-i18n": ("ViT-B-16-SigLIP-i18n-256", True),
    "metaclip-2": ("ViT-H-14-worldwide-quickgelu", True),
}


@pytest.fixture
def folder(tmp_path):
    entries = [{"videoID": CLIP, "enCap": ["a cat jumps"], "chCap": ["一只猫跳起来"]}]
    (tmp_path / "captions.json").write_text(json.dumps(entries), encoding="utf-8")
    (tmp_path / f"{CLIP}.mp4").write_bytes(b"video")
    for name in ("train_list.txt", "test_list.txt"):
        (tmp_path / name).write_text(f"{CLIP}\n")
    return tmp_path


def experiment(folder, language, model="ViT-B-16"):
    dataset = {"kind": "vatex", "annotations": str(folder), "root": str(folder), "captions": ["captions.json"]}
    return parse_experiment(
        {
            "name": "chinese",
            "backbone": {"kind": "open-clip", "model": model, "weights": {"kind": "random"}},
            "method": {"kind": "side4video"},
            "task": {"kind": "retrieval"},
            "data": {"recipe": "retrieval", "dataset": {**dataset, "language": language}},
            "optimization": {"batch_size": 1, "length": {"epochs": 1}, "warmup": {"steps": 0}},
        }
    )


@pytest.mark.parametrize(("language", "caption"), [("english", "a cat jumps"), ("chinese", "一只猫跳起来")])
def test_the_captions_of_a_language_are_read(folder, language, caption):
    assert experiment(folder, language).data.listed.clips("test")[0].captions == (caption,)


def test_a_file_without_chinese_captions_says_so(folder):
    (folder / "captions.json").write_text(json.dumps([{"videoID": CLIP, "enCap": ["a cat"]}]))
    with pytest.raises(InputError, match="chCap"):
        experiment(folder, "chinese").data.listed.clips("test")


def test_a_tokenizer_of_english_is_refused(folder):
    with pytest.raises(InputError, match=r"tokenizer of the backbone was made of English.*fix: choose such a backbone"):
        check_files(experiment(folder, "chinese"))


@pytest.mark.parametrize("name", BACKBONES)
def test_which_models_read_other_languages(name):
    model, reads = BACKBONES[name]
    assert OpenCLIPSpec(model=model, weights={"kind": "random"}).reads_other_languages is reads
