"""The EVL network (Lin et al., 2022, arXiv 2208.03550, section 3): a decoder with one query on a tower's last blocks.

Initial values, dropout and the lookup's sign are not in the paper; they are the authors' code's.

Legend: B clips, T frames, N = B·T, P patches of a frame, S tokens of a frame, D tower width, h heads, k
channels of a head, R = (2·grid - 1)² offsets of one patch from another, M pairs of neighbouring frames in all clips.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.drop_path import DropPath
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution
from side4video.models.networks.contract import FrozenFeatures


class NeighbourLookup(nn.Module):
    """Motion features from two learned tables, indexed by how far patches moved to the frames before and after.

    The tower's queries of one frame and keys of its neighbour, averaged over heads, are a distribution over the
    neighbour's patches. Each patch gets the mean of the table's rows for the offsets under that distribution. Only the
    tables are trained: the distributions have no gradient.
    """

    def __init__(self, tower: TowerShape) -> None:
        super().__init__()
        self.tower = tower
        grid, width = tower.grid, tower.width
        self.before_RD = nn.Parameter(torch.zeros((2 * grid - 1) ** 2, width))
        self.after_RD = nn.Parameter(torch.zeros((2 * grid - 1) ** 2, width))

    def forward(self, query_NhSk: Tensor, key_NhSk: Tensor, frames: int) -> Tensor:
        """The term to add to the tokens, [B, T, S, D]: zero for prefix tokens and for missing neighbours."""
        prefix = self.tower.prefix_tokens
        query_BThPk, key_BThPk = (self.tower.patch_tokens(x.unflatten(0, (-1, frames))) for x in (query_NhSk, key_NhSk))
        offsets_PP = _offsets(self.tower.grid, self.before_RD.device)
        before = _look_up(query_BThPk[:, 1:], key_BThPk[:, :-1], F.embedding(offsets_PP, self.before_RD))
        after = _look_up(query_BThPk[:, :-1], key_BThPk[:, 1:], F.embedding(offsets_PP, self.after_RD))
        return F.pad(before, (0, 0, prefix, 0, 1, 0)) + F.pad(after, (0, 0, prefix, 0, 0, 1))


def _offsets(grid: int, device: torch.device) -> Tensor:
    """The table row [P, P] for the offset of each patch (first axis) from each other (second axis)."""
    line = torch.arange(grid, device=device)
    offset = line[:, None] - line + grid - 1
    return (offset[:, None, :, None] * (2 * grid - 1) + offset[None, :, None, :]).view(grid**2, grid**2)


def _look_up(query_BThPk: Tensor, key_BThPk: Tensor, rows_PPD: Tensor) -> Tensor:
    weights_BTPP = _match_patches(query_BThPk, key_BThPk).to(compute_dtype(rows_PPD))
    # One product per patch: its rows are the same in every clip and frame.
    return torch.einsum("btpq,pqd->btpd", weights_BTPP, rows_PPD)


@torch.no_grad()
def _match_patches(query_BThPk: Tensor, key_BThPk: Tensor) -> Tensor:
    """Attention from the patches of one frame to those of another, averaged over heads [B, T, P, P].

    One head at a time: the maps of all heads together would need much more memory.
    """
    batch, frames, heads, _, channels = query_BThPk.shape
    total_MPP: Tensor | None = None
    for head in range(heads):
        query_MPk, key_MPk = (x[:, :, head].flatten(0, 1) for x in (query_BThPk, key_BThPk))
        weights_MPP = (query_MPk * channels**-0.5 @ key_MPk.transpose(1, 2)).softmax(-1, dtype=torch.float32)
        total_MPP = weights_MPP if total_MPP is None else total_MPP.add_(weights_MPP)
    if total_MPP is None:
        raise ValueError("attention without heads")
    return total_MPP.div_(heads).unflatten(0, (batch, frames))


class DecoderLayer(nn.Module):
    """Cross-attention of the query over the tokens, then an MLP; both are pre-norm."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int, dropout: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.drop_path = DropPath(drop_path)
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
        """The query [B, 1, D] after this layer, from the tokens of all frames [B, T·S, D]."""
        # Cast once: keys and values save their input for backward, and share one tensor.
        normed_BSD = self.token_norm(tokens_BSD).to(compute_dtype(self.key.weight))
        query, key, value = (
            rearrange(projected, "B S (h k) -> B h S k", h=self.heads)
            for projected in (self.query(self.query_norm(query_B1D)), self.key(normed_BSD), self.value(normed_BSD))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        query_B1D = query_B1D + self.drop_path(self.leave(rearrange(attended, "B h Q k -> B Q (h k)")))
        hidden = self.widen(self.perceptron_norm(query_B1D))
        return query_B1D + self.drop_path(self.narrow(self.dropout(hidden * torch.sigmoid(1.702 * hidden))))


class Stage(nn.Module):
    """One tapped block: temporal features are added to its tokens, and the decoder's query reads them."""

    def __init__(
        self, tower: TowerShape, *, frames: int, mlp_ratio: int, dropout: float, temporal: frozenset[str]
    ) -> None:
        super().__init__()
        self.frames, width = frames, tower.width
        self.convolution = DepthwiseTemporalConvolution(width) if "convolution" in temporal else None
        self.positions_TD = nn.Parameter(torch.zeros(frames, width)) if "positions" in temporal else None
        self.lookup = NeighbourLookup(tower) if "attention" in temporal else None
        self.decoder = DecoderLayer(width, heads=tower.heads, mlp_ratio=mlp_ratio, dropout=dropout)

    def forward(self, query_B1D: Tensor, tokens_NSD: Tensor, attention: tuple[Tensor, Tensor] | None) -> Tensor:
        """The query after this stage, from the block's tokens and, for the lookup, its queries and keys."""
        weight = self.decoder.key.weight
        tokens_BTSD = tokens_NSD.unflatten(0, (-1, self.frames))
        timed_BTSD = tokens_BTSD.to(weight.dtype)
        if self.convolution is not None:
            # In autocast's precision if it is on: then backward saves the tower's own tokens.
            timed_BTSD = timed_BTSD + self.convolution(tokens_BTSD.to(compute_dtype(weight)))
        if self.positions_TD is not None:
            timed_BTSD = timed_BTSD + self.positions_TD[:, None]
        if self.lookup is not None and attention is not None:
            timed_BTSD = timed_BTSD + self.lookup(*attention, self.frames)
        return self.decoder(query_B1D, timed_BTSD.flatten(1, 2))


class EVL(nn.Module):
    """The decoder for recognition with its final norm. The query starts at zero, as in the authors' code."""

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
