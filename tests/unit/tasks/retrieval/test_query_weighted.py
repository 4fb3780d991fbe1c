"""TS2-Net's similarity against an independent float64 statement."""

import pytest
import torch
from torch import nn

import matching_statement
import oracle
import ts2_net_statement as statement
from side4video.core.seeds import seeded
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval import query_weighted
from side4video.tasks.retrieval.query_weighted import QueryWeightedMatching

TEXTS, WORDS, WIDTH = 4, 6, 32
MASK_BT = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()


class Inputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Parameter(torch.randn(TEXTS, WORDS, WIDTH))
        self.frames = nn.Parameter(torch.randn(3, 5, WIDTH))

    def forward(self, mask_BT):
        matching = QueryWeightedMatching(TextTokenizer({}))
        texts = matching.embed_texts(self.words, matching_statement.make_tokens(WORDS))
        return matching.compare(texts, matching.embed_videos(self.frames, mask_BT))


@pytest.mark.parametrize("mask_BT", [None, MASK_BT], ids=["whole", "masked"])
def test_similarities_and_gradients_equal_the_statement(mask_BT):
    with seeded(2):
        inputs = Inputs()
    state, tokens = oracle.double(inputs, trains=True), matching_statement.make_tokens(WORDS)
    expected = [
        statement.similarity(words, tokens[row], frames, None if mask_BT is None else mask_BT[video].tolist())
        for row, words in enumerate(state["words"])
        for video, frames in enumerate(state["frames"])
    ]
    oracle.assert_equal(inputs(mask_BT), torch.stack(expected).view(TEXTS, 3), inputs, state)


def test_twin_with_equal_weights(monkeypatch):
    monkeypatch.setattr(query_weighted, "SHARPNESS", 0.0)
    with pytest.raises(AssertionError):
        test_similarities_and_gradients_equal_the_statement(None)
