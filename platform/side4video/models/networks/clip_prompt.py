"""The networks of CLIP-Prompt (Ju et al., 2022, section 3): learned vectors around a text, blocks over frozen frames.

Legend: B clips, T frames, Q texts, W tokens of a text, L positions of a prompted text, D width of the text tower, E
channels of the shared space.
"""

import torch
from torch import Tensor, nn

from side4video.core.errors import InputError
from side4video.models.networks.clip4clip import Block
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.pair import FrozenFrames
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.text_tower import TextTower

INITIAL_STD = 0.01
EPSILON = 1e-5
"""Epsilon of the blocks' norms in the authors' code."""


class PromptedText(nn.Module):
    """A text tower with learned vectors around each text: start, `prefix`, words, `postfix`, end.

    The vectors are a table over the tower's positions. Start, words and end replace rows of it, so the vectors after a
    longer text are later rows. Attention is causal, so the rows after the end have no effect.
    """

    def __init__(self, tower: TextTower, *, prefix: int, postfix: int) -> None:
        super().__init__()
        self.tower, self.prefix, self.postfix = tower, prefix, postfix
        self.positions = len(tower.transformer.positional_embedding)  # type: ignore[arg-type]
        self.prompts_LD = nn.Parameter(torch.randn(self.positions, tower.width) * INITIAL_STD)

    def forward(self, tokens_QW: Tensor) -> Tensor:
        """Features [Q, W, E] at the text's own tokens.

        Raises:
            InputError: Tokens and vectors together exceed the positions.
        """
        length = tokens_QW.shape[1] + self.prefix + self.postfix
        if length > self.positions:
            limit = self.positions - self.prefix - self.postfix
            raise InputError(
                "task.words",
                f"{tokens_QW.shape[1]} tokens and {self.prefix} + {self.postfix} learned vectors are "
                f"{length} positions",
                allowed=f"{self.positions}, the positions of the text tower: up to {limit} words beside these vectors",
                fix=f"set task.words to {limit}, or make method.prefix and method.postfix smaller",
            )
        ends_Q1 = self.tower.tokenizer.ends(tokens_QW).unsqueeze(1)
        stream_QLD = self._embed(tokens_QW, ends_Q1, length)
        for index in range(self.tower.depth):
            stream_QLD = stream_QLD + self.tower.attention_branch(index, stream_QLD)
            stream_QLD = stream_QLD + self.tower.mlp_branch(index, stream_QLD)
        tokens_W = torch.arange(tokens_QW.shape[1], device=tokens_QW.device)
        positions_QW = tokens_W + self.prefix * (tokens_W > 0) + self.postfix * (tokens_W >= ends_Q1)
        return self.tower.finish(_take(stream_QLD, positions_QW))

    def _embed(self, tokens_QW: Tensor, ends_Q1: Tensor, length: int) -> Tensor:
        """Learned vectors and the embeddings of start, words and end, with positions [Q, L, D]."""
        whole = self.tower.transformer
        positions_L = torch.arange(length, device=tokens_QW.device)
        end_Q1 = ends_Q1 + self.prefix + self.postfix
        is_word_QL = (positions_L > self.prefix) & (positions_L < ends_Q1 + self.prefix)
        is_token_QL = (positions_L == 0) | is_word_QL | (positions_L == end_Q1)
        sources_QL = positions_L - self.prefix * (positions_L > self.prefix) - self.postfix * (positions_L >= end_Q1)
        embedded_QWD = whole.token_embedding(tokens_QW)  # type: ignore[operator]
        tokens_QLD = _take(embedded_QWD, sources_QL.clamp(0, tokens_QW.shape[1] - 1))
        mixed_QLD = torch.where(is_token_QL.unsqueeze(-1), tokens_QLD, self.prompts_LD[:length])
        return mixed_QLD + whole.positional_embedding[:length]  # type: ignore[index]


class OrderedFrames(nn.Module):
    """Frozen frame features plus a learned vector per position in time, then CLIP's blocks over them."""

    def __init__(self, tower: FrozenTower, *, frames: int, layers: int) -> None:
        super().__init__()
        width = tower.shape.output_dim
        self.frames = FrozenFrames(tower).requires_grad_(False)
        self.positions_TE = nn.Parameter(torch.randn(frames, width) * INITIAL_STD)
        self.blocks = nn.ModuleList(_new_block(width) for _ in range(layers))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Frame features [B, T, E]."""
        mixed_BTE = self.frames(features).float() + self.positions_TE
        for block in self.blocks:
            mixed_BTE = block(mixed_BTE)
        return mixed_BTE


def _new_block(width: int) -> Block:
    """A block with the authors' epsilon and the initial values of torch's attention."""
    block = Block(width)
    block.attention_norm.eps = block.perceptron_norm.eps = EPSILON
    nn.init.xavier_uniform_(block.query_key_value.weight)
    for bias in (block.query_key_value.bias, block.leave_attention.bias):
        nn.init.zeros_(bias)
    return block


def _take(rows_QLD: Tensor, positions_QW: Tensor) -> Tensor:
    """The rows [Q, W, D] at positions of each text."""
    return rows_QLD.gather(1, positions_QW.unsqueeze(-1).expand(-1, -1, rows_QLD.shape[-1]))
