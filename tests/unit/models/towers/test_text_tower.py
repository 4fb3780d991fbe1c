"""The text tower is open_clip's, read at every word; open_clip's own modules in float64 give the truth."""

import copy

import pytest
import torch
from open_clip import get_tokenizer
from open_clip.model import CLIP
from torch.nn import functional as F

from side4video.models.backbones.weights import FileWeights
from side4video.models.towers.text_tower import TextTower, load_text_tower
from side4video.models.towers.tokenizer import TextTokenizer

CLIPS = TextTokenizer({})
"""CLIP's own tokenizer."""
TEXTS = ["pushing something from left to right", "a cat", "", "word " * 100, "Clockwise! ü 🦀"]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3},
}
KINDS = {"gelu": CONFIG, "quick gelu": CONFIG | {"quick_gelu": True}}


def make_clip(config):
    torch.manual_seed(0)
    clip = CLIP(**config).eval()
    for parameter in clip.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return clip


def load(clip, config, folder):
    torch.save(clip.state_dict(), folder / "clip.pt")
    return load_text_tower(config, weights=FileWeights(path=str(folder / "clip.pt")), model="ViT-B-32", device="cpu")


@torch.no_grad()
def words_of(clip, tokens):
    """open_clip's text transformer up to its pooling, and the projection at every token."""
    length = tokens.shape[1]
    embedded = clip.token_embedding(tokens) + clip.positional_embedding[:length]
    encoded = clip.transformer(embedded, attn_mask=clip.attn_mask[:length, :length])
    return clip.ln_final(encoded) @ clip.text_projection


def check(clip, tower, tokens):
    """No further from the truth than open_clip's own float32, at any word."""
    truth = words_of(copy.deepcopy(clip).double(), tokens)
    with torch.no_grad():
        found = tower(tokens).double()
    assert found.shape == (*tokens.shape, 24)
    largest = truth.abs().amax(dim=-1)
    errors = [(each.double() - truth).abs().amax(dim=-1) / largest for each in (found, words_of(clip, tokens))]
    assert errors[0].max() < 2 * errors[1].max() + 1e-7
    assert errors[0].max() < 1e-5


@pytest.mark.parametrize("words", [77, 32, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_open_clips(kind, words, tmp_path):
    clip = make_clip(KINDS[kind])
    check(clip, load(clip, KINDS[kind], tmp_path), CLIPS(TEXTS, words=words))


@pytest.mark.parametrize("kind", KINDS)
def test_the_word_at_the_end_is_open_clips_text_feature(kind, tmp_path):
    clip = make_clip(KINDS[kind])
    tokens = get_tokenizer("ViT-B-32")(TEXTS)
    assert torch.equal(tokens, CLIPS(TEXTS, words=77))
    with torch.no_grad():
        found = load(clip, KINDS[kind], tmp_path)(tokens)[torch.arange(len(TEXTS)), CLIPS.ends(tokens)]
        torch.testing.assert_close(found, clip.encode_text(tokens), rtol=1e-5, atol=1e-6)


def test_fewer_words_give_the_same_features_of_those(tmp_path):
    """A word knows nothing of what follows; texts that are cut end elsewhere, so they are not compared."""
    clip = make_clip(CONFIG)
    tower = load(clip, CONFIG, tmp_path)
    texts = [text for text in TEXTS if len(text) < 100]
    long, short = CLIPS(texts, words=77), CLIPS(texts, words=12)
    assert torch.equal(long[:, :12], short)
    with torch.no_grad():
        torch.testing.assert_close(tower(long)[:, :12], tower(short), rtol=1e-5, atol=1e-6)


def test_words_behind_do_not_matter(tmp_path):
    clip = make_clip(CONFIG)
    tower = load(clip, CONFIG, tmp_path)
    tokens = CLIPS(TEXTS, words=20)
    other = tokens.clone()
    other[:, 10:] = 7
    with torch.no_grad():
        assert torch.equal(tower(tokens)[:, :10], tower(other)[:, :10])


# ---- twins


def sees_ahead(monkeypatch):
    plain = F.scaled_dot_product_attention

    def run_attention(*tensors, is_causal=False):
        return plain(*tensors)

    monkeypatch.setattr(F, "scaled_dot_product_attention", run_attention)


class WithoutPositions(TextTower):
    def embed(self, tokens_BW):
        return self.transformer.token_embedding(tokens_BW)


class WithoutLastNorm(TextTower):
    def finish(self, tokens_BWD):
        return tokens_BWD @ self.transformer.text_projection


@pytest.mark.parametrize("twin", [WithoutPositions, WithoutLastNorm])
def test_twins(twin, tmp_path):
    clip = make_clip(CONFIG)
    tower = load(clip, CONFIG, tmp_path)
    with pytest.raises(AssertionError):
        check(clip, twin(tower.transformer, tower.logit_scale, CLIPS), CLIPS(TEXTS, words=32))


def test_a_twin_that_sees_ahead(monkeypatch, tmp_path):
    sees_ahead(monkeypatch)
    with pytest.raises(AssertionError):
        test_every_word_is_open_clips("gelu", 32, tmp_path)


def test_twins_that_see_ahead_are_noticed_by_causality_too(monkeypatch, tmp_path):
    sees_ahead(monkeypatch)
    with pytest.raises(AssertionError):
        test_fewer_words_give_the_same_features_of_those(tmp_path)
    with pytest.raises(AssertionError):
        test_words_behind_do_not_matter(tmp_path)


def test_twin_with_the_other_gelu(tmp_path):
    clip = make_clip(KINDS["quick gelu"])
    with pytest.raises(AssertionError):
        check(clip, load(clip, KINDS["gelu"], tmp_path), CLIPS(TEXTS, words=32))
