"""Texts of towers with tokenizers of Hugging Face: the library's tokens, where a text ends, where it is read."""

import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from side4video.core.errors import InputError
from side4video.models.backbones.open_clip_models import read_config
from side4video.models.towers.tokenizer import TextTokenizer
from tiny_tokenizer import write_tokenizer

MODELS = {
    "siglip": "ViT-B-16-SigLIP",
    "siglip2": "ViT-B-16-SigLIP2",
    "metaclip2": "ViT-H-14-worldwide-quickgelu",
    "clipa": "ViT-L-14-CLIPA",
}
TEXTS = ["a cat runs left", "a dog", "", "a cat a cat a cat a cat a cat a cat a cat"]
ENDS = {
    "siglip": [4, 2, 0, 7],
    "siglip2": [4, 2, 0, 7],
    "metaclip2": [5, 3, 1, 7],  # the start token is before them
    "clipa": [4, 2, 0, 7],  # its end token is removed
}
"""Of the texts in eight tokens."""


@pytest.fixture(params=MODELS)
def kind(request):
    return request.param


def tokenizer_of(kind, folder):
    return TextTokenizer({**read_config(MODELS[kind]), "tokenizer": str(write_tokenizer(folder, kind))})


def test_tokens_are_open_clips(kind, tmp_path):
    tokenizer = tokenizer_of(kind, tmp_path)
    options = read_config(MODELS[kind])["text_cfg"].get("tokenizer_kwargs", {})
    assert torch.equal(tokenizer(TEXTS, words=8), HFTokenizer(str(tmp_path), **options)(TEXTS, context_length=8))


def test_where_a_text_ends_and_where_it_is_read(kind, tmp_path):
    tokenizer = tokenizer_of(kind, tmp_path)
    tokens = tokenizer(TEXTS, words=8)
    ends = tokenizer.ends(tokens).tolist()
    if kind == "clipa":
        assert ends[:3] == ENDS[kind][:3]
    else:
        assert ends == ENDS[kind]
    assert tokenizer.feature_positions(tokens).tolist() == (ends if kind == "metaclip2" else [7] * 4)


def test_an_empty_text_and_one_that_is_cut(kind, tmp_path):
    tokenizer = tokenizer_of(kind, tmp_path)
    assert [tokenizer.is_empty(text) for text in ("", "  ", "cat")] == [True, True, False]
    assert tokenizer.count("a cat runs left", most=20) == ENDS[kind][0] + 1 + (kind == "clipa")
    assert tokenizer.count(TEXTS[3], most=9) == 9


def test_clips_own_marks_the_end_by_its_largest_id():
    tokenizer = TextTokenizer({})
    tokens = tokenizer(["a cat", ""], words=8)
    assert tokenizer.ends(tokens).tolist() == tokenizer.feature_positions(tokens).tolist() == [3, 1]
    assert [tokenizer.is_empty(text) for text in ("", "cat")] == [True, False]


def test_before_a_text_was_read_nothing_is_loaded():
    """A dry run's tokens are not a text's, and its machine may not have the tokenizer."""
    tokenizer = TextTokenizer(read_config("ViT-B-16-SigLIP2"))
    assert tokenizer.ends(torch.ones((2, 64), dtype=torch.int64)).tolist() == [63, 63]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("missing", r"backbone\.tokenizer: .*missing is no folder"),
        ("empty", r"backbone\.tokenizer: the tokenizer .*empty cannot be read .* hf download timm/ViT-B-16-SigLIP2 "),
    ],
)
def test_files_that_are_not_there_are_one_line(folder, message, tmp_path):
    (tmp_path / "empty").mkdir()
    tokenizer = TextTokenizer({**read_config("ViT-B-16-SigLIP2"), "tokenizer": str(tmp_path / folder)})
    with pytest.raises(InputError, match=message):
        tokenizer(["a cat"], words=64)


def test_a_missing_library_is_one_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"transformers is not installed .*pip install 'side4video\[transformers\]'"):
        TextTokenizer(read_config("ViT-B-16-SigLIP2"))(["a cat"], words=64)
