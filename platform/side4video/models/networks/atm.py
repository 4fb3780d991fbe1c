"""The network of ATM (Wu et al., 2023, arXiv 2307.08908): arithmetic between neighbouring frames in a trained tower.

The module joins what a frame shares with its neighbours (products of places within a window) and what it has beyond
them (differences). It stands in front of one block. As in the authors' code, class tokens also pass a filter over time
in front of every attention and every MLP, and the module's two ReLUs cut the stream of patches: a new student is not
the tower.

Legend: B clips, T frames, N = B·T, S tokens of a frame, P or Q patches of a frame (y, x of its grid), D tower width,
C = 64 channels of the module, L = 5 neighbours, M = B·L·T·P maps of one place and neighbour, u, v places of its window
of 9 x 9, E channels of the space shared with texts.
"""

from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.shape import TowerShape
from side4video.models.layers.norm import TokenBatchNorm, normalise_images
from side4video.models.layers.temporal import temporal_filter
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower

CHANNELS, NEIGHBOURS, WINDOW = 64, 5, 9
EPSILON = 1e-6
EMBEDDING_NAMES = ("conv1.", "ln_pre.", "patch_embed.", "norm_pre.")
"""Names, in CLIP's and EVA-CLIP's towers, of the patch embedding and the norm before the first block."""


class ClassFilter(nn.Module):
    """A depthwise filter of three taps over the class tokens of a clip, zero padded, without bias.

    At first it is a shift: a quarter of the channels comes from the next frame, a quarter from the previous one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        quarter = width // 4
        weight_3D = torch.zeros(3, width)
        weight_3D[2, :quarter] = 1.0
        weight_3D[0, quarter : 2 * quarter] = 1.0
        weight_3D[1, 2 * quarter :] = 1.0
        self.weight_3D = nn.Parameter(weight_3D)

    def forward(self, tokens_BTSD: Tensor, class_token: int) -> Tensor:
        """All tokens, the class tokens filtered."""
        after = class_token + 1
        filtered = temporal_filter(tokens_BTSD[:, :, class_token:after], self.weight_3D)
        return torch.cat([tokens_BTSD[:, :, :class_token], filtered, tokens_BTSD[:, :, after:]], dim=2)


class Convolution(nn.Module):
    """A convolution over images without bias, batch norm, ReLU."""

    def __init__(self, channels: int, output_channels: int, *, padding: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(channels, output_channels, 3, stride=stride, padding=padding, bias=False)
        self.norm = TokenBatchNorm(output_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Images, channels second."""
        return F.relu(normalise_images(self.kernel(images), self.norm))


class Transfer(nn.Module):
    """From the five relations of each place to a term of the patches; it starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Sequential(Convolution(CHANNELS, CHANNELS), Convolution(CHANNELS, CHANNELS))
        self.join = Convolution(NEIGHBOURS * CHANNELS, CHANNELS)
        self.leave = nn.Linear(CHANNELS, width, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, relations_BLTCyx: Tensor) -> Tensor:
        """The term [B, T, P, D]."""
        batch, neighbours, frames = relations_BLTCyx.shape[:3]
        own = self.own(relations_BLTCyx.flatten(0, 2))
        sizes = {"B": batch, "L": neighbours, "T": frames}
        joined = self.join(rearrange(own, "(B L T) C y x -> (B T) (L C) y x", **sizes))
        return self.leave(rearrange(joined, "(B T) C y x -> B T (y x) C", B=batch))


class Similarity(nn.Module):
    """Products of a place with the places of a window around it, in the frame itself and in its four neighbours."""

    inside_Puv: Tensor
    places_Puv: Tensor

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.enter = Convolution(shape.width, CHANNELS)
        self.encode = nn.Sequential(
            Convolution(1, 4),
            Convolution(4, 16, stride=2),
            Convolution(16, CHANNELS, stride=2),
            Convolution(CHANNELS, CHANNELS, padding=0),
        )
        places, inside = window_places(shape.grid)
        self.register_buffer("places_Puv", places, persistent=False)
        self.register_buffer("inside_Puv", inside, persistent=False)

    def forward(self, image_NDyx: Tensor, frames: int) -> Tensor:
        """Relations [B, L, T, C, y, x]."""
        entered = self.enter(image_NDyx)
        length = (entered.float().square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
        unit_BTCP = (entered / length).flatten(2).unflatten(0, (-1, frames))
        maps_M1uv = self._products(unit_BTCP).flatten(0, 3).unsqueeze(1)
        encoded_MC = self.encode(maps_M1uv).flatten(1)
        sizes = {"L": NEIGHBOURS, "T": frames, "y": image_NDyx.shape[-2], "x": image_NDyx.shape[-1]}
        return rearrange(encoded_MC, "(B L T y x) C -> B L T C y x", **sizes)

    def _products(self, unit_BTCP: Tensor) -> Tensor:
        """Maps [B, L, T, P, u, v]; zero outside of the frame and of the clip."""
        seen_BLTCP = neighbours_of(unit_BTCP)
        # All pairs of places are computed, because one product of matrices takes less memory than the windows.
        pairs_BLTPQ = unit_BTCP.transpose(-1, -2).unsqueeze(1) @ seen_BLTCP
        index = self.places_Puv.flatten(1).expand(*pairs_BLTPQ.shape[:-1], -1)
        windows = pairs_BLTPQ.gather(-1, index).unflatten(-1, (WINDOW, WINDOW))
        return windows.masked_fill(~self.inside_Puv, 0.0)


class Difference(nn.Module):
    """What the frame itself and its four neighbours have beyond the frame, place by place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = Convolution(width, CHANNELS)

    def forward(self, image_NDyx: Tensor, frames: int) -> Tensor:
        """Relations [B, L, T, C, y, x]."""
        entered_BTCyx = self.enter(image_NDyx).unflatten(0, (-1, frames))
        return neighbours_of(entered_BTCyx) - entered_BTCyx.unsqueeze(1)


class ArithmeticModule(nn.Module):
    """Both relations, each with its own transfer: F to ReLU(F + transfer(relation(F)))."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.grid = shape.grid
        self.similarity = Similarity(shape)
        self.similarity_transfer = Transfer(shape.width)
        self.difference = Difference(shape.width)
        self.difference_transfer = Transfer(shape.width)

    def forward(self, patches_BTPD: Tensor) -> Tensor:
        """Patches [B, T, P, D], none of them negative."""
        for relation, transfer in (
            (self.similarity, self.similarity_transfer),
            (self.difference, self.difference_transfer),
        ):
            image_NDyx = rearrange(patches_BTPD, "B T (y x) D -> (B T) D y x", y=self.grid)
            patches_BTPD = F.relu(patches_BTPD + transfer(relation(image_NDyx, patches_BTPD.shape[1])))
        return patches_BTPD


class FilteredBlock(nn.Module):
    """The filters that a block of the tower has in addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention = ClassFilter(width)
        self.before_perceptron = ClassFilter(width)


class ATM(nn.Module):
    """The tower, trained, its class tokens filtered over time, and the module in front of block `at`."""

    def __init__(self, tower: FrozenTower, *, at: int) -> None:
        super().__init__()
        self.shape, self.trunk, self.at, self.output_dim = tower.shape, tower.trunk, at, tower.shape.output_dim
        tower.trunk.visual.requires_grad_(True)
        self.filters = nn.ModuleList(FilteredBlock(tower.shape.width) for _ in range(tower.shape.depth))
        self.arithmetic = ArithmeticModule(tower.shape)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, E] of the clips: the mean over frames of the projected class tokens."""
        clips = features.video_BTCHW.shape[:2]
        class_token = cast("int", self.shape.class_token)
        video_NCHW = features.normalise(features.video_BTCHW).flatten(0, 1)
        tokens_BTSD = self.trunk.embed(video_NCHW).unflatten(0, clips)
        for index in range(self.shape.depth):
            if index == self.at:
                tokens_BTSD = self._relate(tokens_BTSD)
            filters = cast("FilteredBlock", self.filters[index])
            tokens_BTSD = filters.before_attention(tokens_BTSD, class_token)
            attended_NSD = self.trunk.attention_branch(index, tokens_BTSD.flatten(0, 1))
            tokens_BTSD = filters.before_perceptron(tokens_BTSD + attended_NSD.unflatten(0, clips), class_token)
            hidden_NSD = self.trunk.mlp_branch(index, tokens_BTSD.flatten(0, 1))
            tokens_BTSD = tokens_BTSD + hidden_NSD.unflatten(0, clips)
        pooled_ND = self.trunk.pool(tokens_BTSD.flatten(0, 1))
        return self.trunk.project(pooled_ND).float().unflatten(0, clips).mean(dim=1)

    def layer_depths(self) -> dict[int, int]:
        """By the `id` of a parameter, how many layers it stands below the top; what is not in it stands there.

        Class token, positions, final norm and projection are at the top, and so are the matrices of filters and module
        (the authors' code, which looks for other names than CLIP's).
        """
        depth, found = self.shape.depth, {}
        for index, block in enumerate(self.trunk.blocks):
            found |= {id(parameter): depth - index for parameter in block.parameters()}
        for name, parameter in self.trunk.visual.named_parameters():
            if name.startswith(EMBEDDING_NAMES):
                found[id(parameter)] = depth + 1
        vectors = [parameter for parameter in self.arithmetic.parameters() if parameter.ndim == 1]
        return found | {id(parameter): depth - self.at for parameter in vectors}

    def _relate(self, tokens_BTSD: Tensor) -> Tensor:
        prefix = self.shape.prefix_tokens
        patches_BTPD = self.arithmetic(self.shape.patch_tokens(tokens_BTSD))
        return torch.cat([tokens_BTSD[:, :, :prefix], patches_BTPD], dim=2)


def neighbours_of(frames_BT: Tensor) -> Tensor:
    """For each frame, the two before it, itself, and the two after it: [B, L, T, ...], zero outside of the clip."""
    count, reach = frames_BT.shape[1], NEIGHBOURS // 2
    nothing = frames_BT.new_zeros(frames_BT.shape[0], reach, *frames_BT.shape[2:])
    padded = torch.cat([nothing, frames_BT, nothing], dim=1)
    return torch.stack([padded[:, each : each + count] for each in range(NEIGHBOURS)], dim=1)


def window_places(grid: int) -> tuple[Tensor, Tensor]:
    """For each place, the numbers of the places in its window [P, u, v], and which of them are in the frame."""
    line = torch.arange(grid)
    rows_yu = line[:, None] + torch.arange(WINDOW) - WINDOW // 2
    is_inside = (rows_yu >= 0) & (rows_yu < grid)
    rows_yu = rows_yu.clamp(0, grid - 1)
    places = rows_yu[:, None, :, None] * grid + rows_yu[None, :, None, :]
    inside = is_inside[:, None, :, None] & is_inside[None, :, None, :]
    return places.flatten(0, 1), inside.flatten(0, 1)
