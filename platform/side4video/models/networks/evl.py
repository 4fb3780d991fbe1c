"""The EVL network (Lin et al., 2022, arXiv 2208.03550, section 3): a decoder with one query on a tower's last blocks.

Where the paper is silent (initial values, dropout, the lookup's sign), it does what the authors' code does.

Legend: B clips, T frames, N = B·T, P patches of a frame, S = P + 1 tokens with [CLS], D tower width, h heads, k
channels of a head, R = (2·grid - 1)² offsets of one patch from another, M pairs of neighbouring frames in all clips.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution
from side4video.models.networks.contract import FrozenFeatures


class NeighbourLookup(nn.Module):
    """What each patch reads from two learned tables, by where it is found again in the frames before and after.

    The tower's queries of one frame and keys of its neighbour give, averaged over heads, a distribution over the
    patches of that neighbour; the patch gets the mean, under that distribution, of the table's rows for the offsets.
    Only the tables are trained: the distributions need no gradient.
    """

    def __init__(self, width: int, *, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.before_RD = nn.Parameter(torch.zeros((2 * grid - 1) ** 2, width))
        self.after_RD = nn.Parameter(torch.zeros((2 * grid - 1) ** 2, width))

    def forward(self, query_NhSk: Tensor, key_NhSk: Tensor, frames: int) -> Tensor:
        """What is added to the tokens, [B, T, S, D]: zero for [CLS], and for the neighbours that a clip lacks."""
        query_BThPk, key_BThPk = (x.unflatten(0, (-1, frames))[:, :, :, 1:] for x in (query_NhSk, key_NhSk))
        offsets_PP = _offsets(self.grid, self.before_RD.device)
        before = _look_up(query_BThPk[:, 1:], key_BThPk[:, :-1], F.embedding(offsets_PP, self.before_RD))
        after = _look_up(query_BThPk[:, :-1], key_BThPk[:, 1:], F.embedding(offsets_PP, self.after_RD))
        return F.pad(before, (0, 0, 1, 0, 1, 0)) + F.pad(after, (0, 0, 1, 0, 0, 1))


def _offsets(grid: int, device: torch.device) -> Tensor:
    """The row [P, P] of a table that belongs to the offset of each patch (first) from each other (second)."""
    line = torch.arange(grid, device=device)
    offset = line[:, None] - line + grid - 1
    return (offset[:, None, :, None] * (2 * grid - 1) + offset[None, :, None, :]).view(grid**2, grid**2)


def _look_up(query_BThPk: Tensor, key_BThPk: Tensor, rows_PPD: Tensor) -> Tensor:
    found_BTPP = _find_again(query_BThPk, key_BThPk).to(compute_dtype(rows_PPD))
    # A product for each patch: its own rows are the same in every clip and frame.
    return torch.einsum("btpq,pqd->btpd", found_BTPP, rows_PPD)


@torch.no_grad()
def _find_again(query_BThPk: Tensor, key_BThPk: Tensor) -> Tensor:
    """Where each patch is found in another frame: the mean over heads of the softmax over patches [B, T, P, P].

    One head at a time, so that the maps of all heads never exist together.
    """
    batch, frames, heads, _, channels = query_BThPk.shape
    total_MPP: Tensor | None = None
    for head in range(heads):
        query_MPk, key_MPk = (x[:, :, head].flatten(0, 1) for x in (query_BThPk, key_BThPk))
        found_MPP = (query_MPk * channels**-0.5 @ key_MPk.transpose(1, 2)).softmax(-1, dtype=torch.float32)
        total_MPP = found_MPP if total_MPP is None else total_MPP.add_(found_MPP)
    if total_MPP is None:
        raise ValueError("attention without heads")
    return total_MPP.div_(heads).unflatten(0, (batch, frames))


class DecoderLayer(nn.Module):
    """The query attends to the tokens, then an MLP; both branches behind a norm."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm = nn.LayerNorm(width)
        self.token_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, mlp_ratio * width)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(mlp_ratio * width, width)
        for layer in (self.query, self.key, self.value, self.leave):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.widen, self.narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, query_B1D: Tensor, tokens_BSD: Tensor) -> Tensor:
        """The query [B, 1, D] after it has seen the tokens of all frames [B, T·S, D]."""
        # Narrowed once: keys and values keep their input for backward, and so keep it together.
        seen_BSD = self.token_norm(tokens_BSD).to(compute_dtype(self.key.weight))
        asked, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(self.query_norm(query_B1D)), self.key(seen_BSD), self.value(seen_BSD))
        )
        attended = F.scaled_dot_product_attention(asked, key, value)
        query_B1D = query_B1D + self.leave(attended.transpose(1, 2).flatten(2))
        hidden = self.widen(self.perceptron_norm(query_B1D))
        return query_B1D + self.narrow(self.dropout(hidden * torch.sigmoid(1.702 * hidden)))


class Stage(nn.Module):
    """One tapped block: its tokens are given a sense of time, and the decoder's query reads them."""

    def __init__(
        self, tower: TowerShape, *, frames: int, mlp_ratio: int, dropout: float, temporal: frozenset[str]
    ) -> None:
        super().__init__()
        self.frames, width = frames, tower.width
        self.convolution = DepthwiseTemporalConvolution(width) if "convolution" in temporal else None
        self.positions_TD = nn.Parameter(torch.zeros(frames, width)) if "positions" in temporal else None
        self.lookup = NeighbourLookup(width, grid=tower.grid) if "attention" in temporal else None
        self.decoder = DecoderLayer(width, heads=tower.heads, mlp_ratio=mlp_ratio, dropout=dropout)

    def forward(self, query_B1D: Tensor, tokens_NSD: Tensor, attention: tuple[Tensor, Tensor] | None) -> Tensor:
        """The query after this stage, from the block's tokens and, where they are looked at, its queries and keys."""
        weight = self.decoder.key.weight
        tokens_BTSD = tokens_NSD.unflatten(0, (-1, self.frames))
        timed_BTSD = tokens_BTSD.to(weight.dtype)
        if self.convolution is not None:
            # In autocast's precision where it is on: what is kept for backward are then the tower's own tokens.
            timed_BTSD = timed_BTSD + self.convolution(tokens_BTSD.to(compute_dtype(weight)))
        if self.positions_TD is not None:
            timed_BTSD = timed_BTSD + self.positions_TD[:, None]
        if self.lookup is not None and attention is not None:
            timed_BTSD = timed_BTSD + self.lookup(*attention, self.frames)
        return self.decoder(query_B1D, timed_BTSD.flatten(1, 2))


class EVL(nn.Module):
    """The decoder for recognition; its output is normalised, dropout before the classifier is the task's.

    The query starts at zero: the authors' routine that would draw it is never called.
    """

    def __init__(
        self,
        *,
        tower: TowerShape,
        taps: tuple[int, ...],
        frames: int,
        mlp_ratio: int = 4,
        dropout: float = 0.5,
        temporal: frozenset[str] = frozenset({"convolution", "positions", "attention"}),
    ) -> None:
        super().__init__()
        self.taps = taps
        self.output_dim = tower.width
        self.query_D = nn.Parameter(torch.zeros(tower.width))
        self.stages = nn.ModuleList(
            Stage(tower, frames=frames, mlp_ratio=mlp_ratio, dropout=dropout, temporal=temporal) for _ in taps
        )
        self.final_norm = nn.LayerNorm(tower.width)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D] of the clips."""
        query_B1D = self.query_D.repeat(features.video_BTCHW.shape[0], 1, 1)
        for tap, stage in zip(self.taps, self.stages, strict=True):
            query_B1D = stage(query_B1D, features.read(tap), features.attention.get(tap))
        return self.final_norm(query_B1D[:, 0])
