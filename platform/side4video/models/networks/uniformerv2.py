"""The networks of UniFormerV2 (Li et al., 2023, arXiv 2211.09552): one query reads a tower's last blocks.

On Something-Something, the tower's blocks also mix patches with those of the neighbouring frames, and the patch
embedding spans three frames. Initial values, dropout and the handing on of the query are the authors' code's.

Legend: B clips, T frames that the tower sees, F frames of the clip, N = B·T, S tokens of a frame, P patches of a frame
(x, y of its grid), D tower width, d channels between two pointwise layers, C channels, H, W pixels.
"""

from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.drop_path import DropPath
from side4video.models.layers.folded import affine_linear
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.precision import compute_dtype
from side4video.models.layers.temporal import DepthwiseTemporalConvolution, temporal_linear
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.networks.evl import DecoderLayer
from side4video.models.networks.full import PROJECTIONS
from side4video.models.towers.frozen_tower import FrozenTower


class TemporalStem(nn.Module):
    """The outer taps of a patch embedding over three frames, zero at first; its middle tap is the tower's own.

    Together they are a convolution of kernel (3, p, p) and stride (2, p, p), zero padded in time, without bias.
    """

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        size = (shape.width, 3, shape.patch_size, shape.patch_size)
        self.before_DCHW = nn.Parameter(torch.zeros(size))
        self.after_DCHW = nn.Parameter(torch.zeros(size))
        self.prefix_tokens = shape.prefix_tokens

    def forward(self, video_BFCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Every second frame [N, C, H, W], from the first, and what its neighbours add to its tokens [N, S, D]."""
        seen_BTCHW = video_BFCHW[:, 0::2]
        padded = F.pad(video_BFCHW, (0, 0, 0, 0, 0, 0, 1, 1))
        before_BTCHW, after_BTCHW = padded[:, 0::2][:, : seen_BTCHW.shape[1]], padded[:, 2::2]
        stride = self.before_DCHW.shape[-1]
        added = F.conv2d(before_BTCHW.flatten(0, 1), self.before_DCHW, stride=stride)
        added = added + F.conv2d(after_BTCHW.flatten(0, 1), self.after_DCHW, stride=stride)
        added_NSD = F.pad(added.flatten(2).transpose(1, 2), (0, 0, self.prefix_tokens, 0))
        return seen_BTCHW.flatten(0, 1), added_NSD


class LocalMixing(nn.Module):
    """L-MHRA: batch norm, pointwise, depthwise over three frames, pointwise; its output starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = int(width / 1.5)
        self.norm = TokenBatchNorm(width)
        # A Linear has the initial values of a 1x1x1 Conv3d.
        self.enter = nn.Linear(width, inner)
        self.mix = DepthwiseTemporalConvolution(inner)
        self.leave = nn.Linear(inner, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, patches_BTPD: Tensor) -> Tensor:
        """The branch's output [B, T, P, D]."""
        entered_BTPd = affine_linear(self.norm.normalise(patches_BTPD), self.norm, self.enter)
        return temporal_linear(entered_BTPd, self.mix, self.leave)


class QueryStage(nn.Module):
    """Dynamic positions for the patches of one block, then the query reads all tokens of the clip."""

    def __init__(self, shape: TowerShape, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.positions = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.reader = DecoderLayer(width, heads=shape.heads, mlp_ratio=4, dropout=dropout, drop_path=drop_path)
        nn.init.zeros_(cast("Tensor", self.positions.bias))
        self._initialise_reader()

    @torch.no_grad()
    def _initialise_reader(self) -> None:
        reader = self.reader
        # Xavier's bound for one matrix of queries, keys and values.
        bound = (6 / (4 * self.shape.width)) ** 0.5
        for layer in (reader.query, reader.key, reader.value):
            nn.init.uniform_(layer.weight, -bound, bound)
        reader.widen.reset_parameters()
        nn.init.xavier_uniform_(reader.widen.weight)
        for layer in (reader.leave, reader.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query_B1D: Tensor, tokens_BTSD: Tensor) -> Tensor:
        """The query [B, 1, D] after this stage."""
        weight, prefix = self.positions.weight, self.shape.prefix_tokens
        patches_BTPD = self.shape.patch_tokens(tokens_BTSD)
        image = rearrange(patches_BTPD, "B T (x y) D -> B D T x y", x=self.shape.grid)
        placed = self.positions(image.to(compute_dtype(weight)))
        added_BTPD = rearrange(placed, "B D T x y -> B T (x y) D")
        tokens_BTSD = tokens_BTSD.to(weight.dtype) + F.pad(added_BTPD, (0, 0, prefix, 0))
        return self.reader(query_B1D, tokens_BTSD.flatten(1, 2))


class QueryReader(nn.Module):
    """All stages: a learned query, zero at first, is handed from one block's stage to the next."""

    def __init__(self, shape: TowerShape, *, stages: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.query_D = nn.Parameter(torch.zeros(shape.width))
        rates = [drop_path * number / max(1, stages - 1) for number in range(stages)]
        self.stages = nn.ModuleList(QueryStage(shape, dropout=dropout, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(shape.width)

    def first_query(self, batch: int) -> Tensor:
        """The query [B, 1, D] before the first stage."""
        return self.query_D.repeat(batch, 1, 1)


class FrozenUniFormerV2(nn.Module):
    """The query on the frozen tokens of a tower's last blocks, and a norm."""

    def __init__(
        self, *, tower: TowerShape, taps: Sequence[int], frames: int, dropout: float = 0.5, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.taps, self.frames, self.output_dim = tuple(taps), frames, tower.width
        self.reader = QueryReader(tower, stages=len(self.taps), dropout=dropout, drop_path=drop_path)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D] of the clips."""
        query_B1D = self.reader.first_query(features.video_BTCHW.shape[0])
        for tap, stage in zip(self.taps, self.reader.stages, strict=True):
            query_B1D = stage(query_B1D, features.read(tap).unflatten(0, (-1, self.frames)))
        return self.reader.norm(query_B1D[:, 0]).float()


class LocalBlock(nn.Module):
    """What a block of the tower has in addition: mixing over time before its attention and before its MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention = LocalMixing(width)
        self.before_perceptron = LocalMixing(width)


class UniFormerV2(nn.Module):
    """The tower, trained, and the query on its last blocks; the feature joins the query and the class tokens.

    The tower's final norm and projection are not used. Drop path drops a whole clip.
    """

    def __init__(
        self,
        tower: FrozenTower,
        *,
        taps: Sequence[int],
        has_local: bool,
        dropout: float = 0.5,
        drop_path: float = 0.0,
        query_drop_path: float = 0.0,
    ) -> None:
        """`taps` are the blocks that the query reads. `has_local`: the form for Something-Something."""
        super().__init__()
        self.shape, self.trunk, self.output_dim = tower.shape, tower.trunk, tower.shape.width
        depth, width = tower.shape.depth, tower.shape.width
        self.stage_of = {tap: number for number, tap in enumerate(taps)}
        _train_used_parts(tower)
        self.stem = TemporalStem(tower.shape) if has_local else None
        self.local = nn.ModuleList(LocalBlock(width) for _ in range(depth)) if has_local else None
        self.reader = QueryReader(tower.shape, stages=len(taps), dropout=dropout, drop_path=query_drop_path)
        self.drop_paths = nn.ModuleList(DropPath(drop_path * index / max(1, depth - 1)) for index in range(depth))
        self.class_share_D = nn.Parameter(torch.zeros(width))

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, D]: the norm of (1 - s) query + s mean over frames of the class token, s by channel."""
        batch = features.video_BTCHW.shape[0]
        tokens_BTSD = self._embed(features)
        query_B1D = self.reader.first_query(batch)
        for index in range(self.shape.depth):
            tokens_BTSD = self._run_block(index, tokens_BTSD)
            if index in self.stage_of:
                query_B1D = self.reader.stages[self.stage_of[index]](query_B1D, tokens_BTSD)
        class_BD = self.shape.class_token_of(tokens_BTSD).float().mean(dim=1)
        share_D = self.class_share_D.sigmoid()
        return self.reader.norm((1 - share_D) * query_B1D[:, 0].float() + share_D * class_BD).float()

    def _embed(self, features: FrozenFeatures) -> Tensor:
        video_BFCHW = features.normalise(features.video_BTCHW)
        if self.stem is None:
            tokens_NSD = self.trunk.embed(video_BFCHW.flatten(0, 1))
        else:
            tokens_NSD = self.trunk.embed(*self.stem(video_BFCHW))
        return tokens_NSD.unflatten(0, (video_BFCHW.shape[0], -1))

    def _run_block(self, index: int, tokens_BTSD: Tensor) -> Tensor:
        drop, clips = self.drop_paths[index], tokens_BTSD.shape[:2]
        local = None if self.local is None else cast("LocalBlock", self.local[index])
        if local is not None:
            tokens_BTSD = self._mix(local.before_attention, drop, tokens_BTSD)
        attended_NSD = self.trunk.attention_branch(index, tokens_BTSD.flatten(0, 1))
        tokens_BTSD = tokens_BTSD + drop(attended_NSD.unflatten(0, clips))
        if local is not None:
            tokens_BTSD = self._mix(local.before_perceptron, drop, tokens_BTSD)
        hidden_NSD = self.trunk.mlp_branch(index, tokens_BTSD.flatten(0, 1))
        return tokens_BTSD + drop(hidden_NSD.unflatten(0, clips))

    def _mix(self, mixing: nn.Module, drop: nn.Module, tokens_BTSD: Tensor) -> Tensor:
        """The class token passes by."""
        added_BTPD = drop(mixing(self.shape.patch_tokens(tokens_BTSD)))
        return tokens_BTSD + F.pad(added_BTPD, (0, 0, self.shape.prefix_tokens, 0))


def _train_used_parts(tower: FrozenTower) -> None:
    """Train all of the tower but its final norm and its projection, which no feature passes."""
    unused = {id(parameter) for parameter in tower.trunk.last_layers().norm.parameters()}
    for name, parameter in tower.trunk.visual.named_parameters():
        parameter.requires_grad_(name not in PROJECTIONS and id(parameter) not in unused)
