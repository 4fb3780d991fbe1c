"""Side4Video as anyone would write it from library modules: the reference that memory and speed are compared with.

`Conv3d`, `BatchNorm3d`, `LayerNorm` and `MultiheadAttention`, the side stream kept as an image [B, d, T, H, W] and
permuted to tokens for attention, nothing recomputed. Same mathematics and the same tensors as the package's own
network (`copy_from` proves it); only how it is computed differs.

Legend: B clips, T frames, N = B·T, P patch tokens, S = P + 1, D tower width, d side width, H, W patch rows, columns.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainBlock(nn.Module):
    """One side block."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.down_norm, self.down = nn.LayerNorm(width), nn.Linear(width, dim)
        self.norm_1 = nn.BatchNorm3d(dim)
        self.point_1 = nn.Conv3d(dim, dim, 1)
        self.depth = nn.Conv3d(dim, dim, (3, 1, 1), padding=(1, 0, 0), groups=dim)
        self.point_2 = nn.Conv3d(dim, dim, 1)
        self.norm_2 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, dim // 64, batch_first=True)
        self.norm_3 = nn.BatchNorm3d(dim)
        self.enter, self.leave = nn.Conv3d(dim, 4 * dim, 1), nn.Conv3d(4 * dim, dim, 1)

    def forward(self, side: Tensor, tower_NSD: Tensor, spatial_PD: Tensor) -> Tensor:
        """The side stream [B, d, T, H, W] after this block."""
        batch, dim, frames, height, width = side.shape
        read_NSD = self.down(self.down_norm(tower_NSD.to(self.down_norm.weight.dtype)))
        patches_NPD = read_NSD[:, 1:]
        side = side + patches_NPD.reshape(batch, frames, height, width, dim).permute(0, 4, 1, 2, 3)
        side = side + self.point_2(self.depth(self.point_1(self.norm_1(side))))
        cls_BTD = read_NSD[:, 0].reshape(batch, frames, dim)
        half = dim // 2
        shifted_BTD = torch.zeros_like(cls_BTD)
        shifted_BTD[:, :-1, :half] = cls_BTD[:, 1:, :half]
        shifted_BTD[:, 1:, half:] = cls_BTD[:, :-1, half:]
        tokens_NPD = side.permute(0, 2, 3, 4, 1).reshape(batch * frames, height * width, dim)
        seen_NSD = torch.cat([shifted_BTD.reshape(-1, 1, dim), tokens_NPD + spatial_PD], dim=1)
        seen_NSD = self.norm_2(seen_NSD)
        mixed_NPD = self.attention(seen_NSD[:, 1:], seen_NSD, seen_NSD, need_weights=False)[0]
        side = side + mixed_NPD.reshape(batch, frames, height, width, dim).permute(0, 4, 1, 2, 3)
        return side + self.leave(F.gelu(self.enter(self.norm_3(side))))


class PlainSide4Video(nn.Module):
    """The side network of 12 or any number of blocks, with stem norm, spatial embedding and final norm."""

    def __init__(self, *, width: int, patch_size: int, patches: int, taps: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.taps = taps
        self.stem = nn.Conv3d(3, dim, (3, patch_size, patch_size), (1, patch_size, patch_size), (1, 0, 0))
        self.stem_norm, self.final_norm = nn.BatchNorm3d(dim), nn.BatchNorm3d(dim)
        self.spatial_PD = nn.Parameter(torch.empty(patches, dim).normal_(std=0.01))
        self.blocks = nn.ModuleList(PlainBlock(width, dim) for _ in taps)

    def forward(self, video_BTCHW: Tensor, tokens: dict[int, Tensor]) -> Tensor:
        """Features [B, d] from normalised frames and the tower's tokens."""
        dtype = self.stem.weight.dtype
        side = self.stem_norm(self.stem(video_BTCHW.to(dtype).transpose(1, 2)))
        for tap, block in zip(self.taps, self.blocks, strict=True):
            side = block(side, tokens[tap], self.spatial_PD)
        return self.final_norm(side).float().mean(dim=(2, 3, 4))

    @torch.no_grad()
    def take_weights(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Take the weights of the package's own network; gives this module's parameters by that network's names.

        The parameters have the layout of this module: a convolution's kernel where the other has a matrix.
        """
        pairs = {
            "stem.weight_DC3HW": self.stem.weight,
            "stem.bias_D": self.stem.bias,
            "spatial_PD": self.spatial_PD,
            **_affine("stem_norm", self.stem_norm),
            **_affine("final_norm", self.final_norm),
        }
        for number, block in enumerate(self.blocks):
            pairs |= {f"blocks.{number}.{name}": parameter for name, parameter in _block_pairs(block).items()}
        state = dict(network.named_parameters())
        if state.keys() != pairs.keys():
            raise ValueError(f"not the same network: {sorted(state.keys() ^ pairs.keys())[:3]}")
        for name, parameter in pairs.items():
            value = state[name].t() if name.endswith("weight_3D") else state[name]
            parameter.copy_(value.reshape(parameter.shape))
        return pairs


def _affine(name: str, module: nn.Module) -> dict[str, nn.Parameter]:
    return {f"{name}.weight": module.weight, f"{name}.bias": module.bias}  # type: ignore[dict-item]


def _block_pairs(block: PlainBlock) -> dict[str, nn.Parameter]:
    return {
        **_affine("down.norm", block.down_norm),
        **_affine("down.projection", block.down),
        **_affine("temporal.norm", block.norm_1),
        **_affine("temporal.enter", block.point_1),
        "temporal.mix.weight_3D": block.depth.weight,
        "temporal.mix.bias_D": block.depth.bias,
        **_affine("temporal.leave", block.point_2),
        **_affine("attention.norm", block.norm_2),
        "attention.query_key_value.weight": block.attention.in_proj_weight,
        "attention.query_key_value.bias": block.attention.in_proj_bias,
        **_affine("attention.leave", block.attention.out_proj),
        **_affine("perceptron_norm", block.norm_3),
        **_affine("perceptron.enter", block.enter),
        **_affine("perceptron.leave", block.leave),
    }
