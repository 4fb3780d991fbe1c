"""How alike texts and videos are, against independent float64 statements: similarities and gradients."""

import itertools

import pytest
import torch
from torch import nn

import matching_statement as statement
import oracle
import retrieval_toys
from side4video.core.seeds import seeded
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.matching import MeanMatching, TightMatching, TokenMatching

TEXTS, WORDS, VIDEOS, FRAMES, WIDTH = 4, 6, 3, 5, 128
CLIPS = TextTokenizer({})
"""CLIP's own tokenizer."""
TOKEN_WISE = [(weighted, padding) for weighted in (True, False) for padding in ("ignored", "zero")]


def tokens():
    return statement.make_tokens(WORDS)


class Inputs(nn.Module):
    """Features, as parameters so that their gradients are compared as well, in front of a matching."""

    def __init__(self, matching, *, scale=1.0):
        super().__init__()
        self.words = nn.Parameter(scale * torch.randn(TEXTS, WORDS, WIDTH))
        self.frames = nn.Parameter(scale * torch.randn(VIDEOS, FRAMES, WIDTH))
        self.matching = matching

    def forward(self):
        texts = self.matching.embed_texts(self.words, tokens())
        return self.matching.compare(texts, self.matching.embed_videos(self.frames))


def make(matching, seed=0, **options):
    with seeded(seed):
        inputs = Inputs(matching if isinstance(matching, nn.Module) else matching(), **options)
    oracle.perturb(inputs.matching, seed=seed + 1)
    return inputs


def pairs(inputs, state, compare):
    """A statement of all pairs; its keyword `state` has the matching's own names."""
    own = {name.removeprefix("matching."): tensor for name, tensor in state.items() if name.startswith("matching.")}
    return torch.stack(
        [
            torch.stack([compare(words, tokens()[row], frames, own) for frames in state["frames"]])
            for row, words in enumerate(state["words"])
        ]
    )


def check(inputs, compare):
    state = oracle.double(inputs, trains=True)
    oracle.assert_equal(inputs(), pairs(inputs, state, compare), inputs, state)


def check_mean(kind=MeanMatching):
    check(make(lambda: kind(CLIPS)), lambda words, tokens, frames, _: statement.mean(words, tokens, frames))


def check_token_wise(weighted, padding, **options):
    inputs = make(lambda: TokenMatching(WIDTH, CLIPS, weighted=weighted, padding=padding), **options)
    check(
        inputs,
        lambda words, tokens, frames, state: statement.token_wise(
            words, tokens, frames, state, weighted=weighted, padding=padding
        ),
    )


def test_mean():
    check_mean()


@pytest.mark.parametrize(("weighted", "padding"), TOKEN_WISE)
def test_token_wise(weighted, padding):
    for seed in range(3):
        check_token_wise(weighted, padding, seed=seed)


class MeanBeforeNorm(MeanMatching):
    def embed_videos(self, frames_BTE):
        return (nn.functional.normalize(frames_BTE.float().mean(dim=1), dim=-1),)


def test_twin_that_takes_the_mean_before_the_norm():
    with pytest.raises(AssertionError):
        check_mean(MeanBeforeNorm)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(TOKEN_WISE, 2)))
def test_each_kind_fails_the_statement_of_another(one, other):
    inputs = make(lambda: TokenMatching(WIDTH, CLIPS, weighted=one[0], padding=one[1]))
    with torch.no_grad():
        # Words point away from the frames, so that the floor at zero shows.
        inputs.words.copy_(0.1 * inputs.words - inputs.frames.mean((0, 1)))
    scorers = oracle.double(
        make(lambda: TokenMatching(WIDTH, CLIPS, weighted=True, padding="zero")).matching, trains=False
    )

    def stated(words, tokens, frames, state):
        return statement.token_wise(words, tokens, frames, {**scorers, **state}, weighted=other[0], padding=other[1])

    state = oracle.double(inputs, trains=False)
    assert oracle.difference(inputs(), pairs(inputs, state, stated)) > 1e-3


# ---- behind a text's end


def behind_the_end():
    places = torch.arange(WORDS)
    return torch.stack([places > end for end in statement.ENDS])


@pytest.mark.parametrize("kind", ["mean", "tight", "weighted", "unweighted"])
def test_what_is_behind_the_end_changes_nothing(kind):
    """Bit for bit, features and tokens alike; and no gradient reaches it."""
    check_behind_the_end(
        {
            "mean": lambda: MeanMatching(CLIPS),
            "tight": tight,
            "weighted": lambda: TokenMatching(WIDTH, CLIPS, weighted=True, padding="ignored"),
            "unweighted": lambda: TokenMatching(WIDTH, CLIPS, weighted=False, padding="ignored"),
        }[kind]
    )


def check_behind_the_end(kind):
    with seeded(3):
        matching = kind()
    matching.eval()
    inputs = make(matching)
    before = inputs()
    before.sum().backward()
    assert not inputs.words.grad[behind_the_end()].any()
    other = tokens().masked_fill(behind_the_end(), 7)
    with torch.no_grad():
        inputs.words[behind_the_end()] = 100 * torch.randn(int(behind_the_end().sum()), WIDTH)
    kept = matching.embed_texts(inputs.words, other)
    assert torch.equal(matching.compare(kept, matching.embed_videos(inputs.frames)), before)


class EndsAtLastToken(TokenMatching):
    def embed_texts(self, words_QWE, tokens_QW):
        tokens_QW = tokens_QW.clone()
        tokens_QW[:, -1] = tokens_QW.max() + 1
        return super().embed_texts(words_QWE, tokens_QW)


def test_twin_that_sees_behind_the_end():
    with pytest.raises(AssertionError):
        check_behind_the_end(lambda: EndsAtLastToken(WIDTH, CLIPS, weighted=True, padding="ignored"))


def test_zero_is_a_floor_under_a_frames_best_word_where_there_is_padding():
    """The authors' code: a token behind the end is as alike as zero."""
    frames = torch.randn(VIDEOS, FRAMES, WIDTH, generator=torch.Generator().manual_seed(0))
    words = -frames[0, 0].expand(TEXTS, WORDS, WIDTH)
    both = {}
    for padding in ("zero", "ignored"):
        matching = TokenMatching(WIDTH, CLIPS, weighted=False, padding=padding)
        kept = matching.embed_texts(words, tokens())
        both[padding] = matching.compare(kept, matching.embed_videos(frames[:, :1]))[:, 0]
    # One frame, one direction: -1 by words; by frames -1, or 0 where there is padding.
    torch.testing.assert_close(both["ignored"], torch.full((TEXTS,), -1.0))
    torch.testing.assert_close(both["zero"], torch.tensor([-0.5, -0.5, -1.0, -0.5]))


# ---- evaluation


@pytest.mark.parametrize(("weighted", "padding"), TOKEN_WISE)
@pytest.mark.parametrize("at_a_time", [1, 2 * WORDS * VIDEOS * FRAMES, 1 << 24])
def test_an_evaluation_compares_what_training_compares(weighted, padding, at_a_time):
    inputs = make(lambda: TokenMatching(WIDTH, CLIPS, weighted=weighted, padding=padding, max_cosine=at_a_time))
    trained = inputs().detach()
    with torch.no_grad():
        torch.testing.assert_close(inputs(), trained, rtol=1e-5, atol=1e-6)


def test_features_kept_in_half_precision_are_compared_in_full():
    inputs = make(lambda: TokenMatching(WIDTH, CLIPS, weighted=True, padding="ignored"))
    with torch.no_grad():
        texts, videos = inputs.matching.embed_texts(inputs.words, tokens()), inputs.matching.embed_videos(inputs.frames)
        whole = inputs.matching.compare(texts, videos)
        halves = (tuple(each.half() if each.is_floating_point() else each for each in side) for side in (texts, videos))
        half = inputs.matching.compare(*halves)
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() < 1e-3


# ---- tight


def tight(**options):
    tower = retrieval_toys.text_tower(width=WIDTH, output_dim=WIDTH, layers=3, words=20, head_width=64)
    return TightMatching(tower, layers=2, frames=FRAMES, **options)


class Enlarge(nn.Module):
    """Stands in dropout's place."""

    def forward(self, tokens):
        return tokens * 1.5


def check_tight(matching, **options):
    # Small tokens, or an epsilon of 1e-5 in the norms would not show.
    inputs = make(matching, scale=1e-2)
    with torch.no_grad():
        matching.positions_SE.mul_(1e-2)
    check(
        inputs,
        lambda words, tokens, frames, state: statement.tight(words, tokens, frames, state, layers=2, **options),
    )


def test_tight_is_the_statement():
    check_tight(tight().eval())


def test_tights_dropout_is_on_tokens_and_positions_alone():
    matching = tight().train()
    assert [name for name, part in matching.named_modules() if isinstance(part, nn.Dropout)] == ["dropout"]
    assert matching.dropout.p == 0.1
    matching.dropout = Enlarge()
    check_tight(matching, enlarged=1.5)


def other_epsilon(matching):
    matching.blocks[0].attention_norm.eps = 1e-5


def frames_backwards(matching):
    score = matching._score
    matching._score = lambda text_E, frames_BTE, mask: score(text_E, frames_BTE.flip(1), mask)


@pytest.mark.parametrize("spoil", [other_epsilon, frames_backwards])
def test_twins_of_tight(spoil):
    matching = tight().eval()
    spoil(matching)
    with pytest.raises(AssertionError):
        check_tight(matching)


def test_tight_begins_with_the_text_towers_positions_and_blocks():
    text = retrieval_toys.text_tower(width=WIDTH, output_dim=WIDTH, layers=3, words=20, head_width=64)
    with seeded(1):
        matching = TightMatching(text, layers=2, frames=FRAMES)
    assert torch.equal(matching.positions_SE, text.transformer.positional_embedding)
    for block, source in zip(matching.blocks, text.blocks, strict=False):
        assert torch.equal(block.query_key_value.weight, source.attn.in_proj_weight)
        assert torch.equal(block.leave.weight, source.mlp.c_proj.weight)
        assert torch.equal(block.perceptron_norm.weight, source.ln_2.weight)
    assert not torch.equal(matching.blocks[0].leave.weight, matching.blocks[1].leave.weight)
    for layer in (matching.enter, matching.leave):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.2)
        assert not layer.bias.any()
    with seeded(1):
        longer = TightMatching(text, layers=4, frames=30)
    assert torch.equal(longer.positions_SE[:20], text.transformer.positional_embedding)
    assert longer.positions_SE.shape == (31, WIDTH)
    assert longer.positions_SE[20:].std().item() == pytest.approx(0.02, rel=0.1)


def test_scorers_begin_small():
    with seeded(0):
        matching = TokenMatching(512, CLIPS, weighted=True, padding="ignored")
    for scorer in (matching.word_scorer, matching.frame_scorer):
        assert scorer[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert scorer[2].weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not scorer[0].bias.any()
        assert not scorer[2].bias.any()


# ---- frames that only fill up a short video

FILLED = (3, 5, 1)
"""Frames of each video that are its own."""


MASK_BT = torch.arange(FRAMES) < torch.tensor(FILLED)[:, None]


def check_filled(matching, statement_of):
    """The statement sees the video's own frames, and how many fill it up."""
    inputs = make(matching)
    embed = inputs.matching.embed_videos
    inputs.matching.embed_videos = lambda frames: embed(frames, MASK_BT)
    state = oracle.double(inputs, trains=True)
    own = {name.removeprefix("matching."): each for name, each in state.items() if name.startswith("matching.")}
    expected = [
        statement_of(words, tokens()[row], frames[:count], own, FRAMES - count)
        for row, words in enumerate(state["words"])
        for frames, count in zip(state["frames"], FILLED, strict=True)
    ]
    oracle.assert_equal(inputs(), torch.stack(expected).view(TEXTS, VIDEOS), inputs, state)


@pytest.mark.parametrize("normalizes", [True, False])
def test_the_mean_of_the_videos_own_frames(normalizes):
    check_filled(
        MeanMatching(CLIPS, normalizes_frames=normalizes),
        lambda words, tokens, frames, _, __: statement.mean(words, tokens, frames, normalizes=normalizes),
    )


@pytest.mark.parametrize(("weighted", "padding"), TOKEN_WISE)
def test_token_wise_of_the_videos_own_frames(weighted, padding):
    check_filled(
        TokenMatching(WIDTH, CLIPS, weighted=weighted, padding=padding),
        lambda words, tokens, frames, state, fillers: statement.token_wise(
            words, tokens, frames, state, weighted=weighted, padding=padding, fillers=fillers
        ),
    )


def test_tight_of_the_videos_own_frames():
    check_filled(
        tight().eval(),
        lambda words, tokens, frames, state, _: statement.tight(words, tokens, frames, state, layers=2),
    )


def test_twin_that_counts_the_fillers():
    matching = MeanMatching(CLIPS)
    embed = matching.embed_videos
    matching.embed_videos = lambda frames, mask: embed(frames)
    with pytest.raises(AssertionError):
        check_filled(matching, lambda words, tokens, frames, _, __: statement.mean(words, tokens, frames))
