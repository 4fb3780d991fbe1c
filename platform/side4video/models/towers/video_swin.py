"""Video Swin (Liu et al., 2022, arXiv 2106.13230): torchvision's network, split into blocks.

Tubelets of 2 x 4 x 4; attention in shifted windows; before each stage but the first, 2 x 2 tokens become one of twice
the width. Tokens that can be read are those of the last stage.

Legend: B clips, T frames, C channels, H, W pixels, t, h, w tokens over time, height and width, S = t·h·w, D width.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging
from torchvision.models.video.swin_transformer import SwinTransformer3d

from side4video.models.backbones.clip_sizes import SwinSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk, check_no_attention, without_head

_TABLE = "relative_position_bias_table"


class VideoSwinTrunk(ClipTrunk):
    """The network without its classifier."""

    def __init__(self, sizes: SwinSizes, shape: TowerShape) -> None:
        super().__init__()
        self.window = sizes.window
        with torch.device("meta"):
            self.visual = SwinTransformer3d(
                patch_size=[sizes.tubelet_frames, 4, 4],
                embed_dim=sizes.width,
                depths=list(sizes.layers),
                num_heads=list(sizes.heads),
                window_size=list(sizes.window),
                stochastic_depth_prob=sizes.drop_path,
            )
        cast("Any", self.visual).head = nn.Identity()
        grids = [shape.grid * 2**merges for merges in reversed(range(len(sizes.layers)))]
        self._walk: list[tuple[nn.Module | None, nn.Module, int]] = []
        """Of each block: the merging before it, the block, and the side of the grid that enters."""
        merging: nn.Module | None = None
        stage = 0
        for part in self.visual.features:
            if isinstance(part, PatchMerging):
                merging, stage = part, stage + 1
                continue
            for block in cast("nn.Sequential", part):
                grid = grids[stage if merging is None else stage - 1]
                self._walk.append((merging, block, grid))
                merging = None
        self.blocks = [block for _, block, _ in self._walk]
        self._keep_indices_out_of_files()

    @property
    def norm(self) -> nn.Module:
        """See `ClipTrunk`."""
        return cast("Any", self.visual).norm

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `ClipTrunk`."""
        model = cast("Any", self.visual)
        return model.pos_drop(model.patch_embed(frames_NCHW.transpose(1, 2))).flatten(1, 3)

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """See `ClipTrunk`. A merging belongs to the block after it."""
        check_no_attention(read)
        merging, block, grid = self._walk[index]
        tokens_BthwD = tokens_NPD.unflatten(1, (-1, grid, grid))
        return block(tokens_BthwD if merging is None else merging(tokens_BthwD)).flatten(1, 3)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of torchvision's files. The numbers of a window's pairs of tokens are computed, not read.

        Tables for a window of another length in time become tables for this one.
        """
        own = self.visual.state_dict()
        tensors = {}
        for name, tensor in state.items():
            if name.endswith(_TABLE) and name in own:
                tensor = table_for_window(tensor, self.window, entries=own[name].shape[0])
            if not name.endswith("relative_position_index"):
                tensors[name] = tensor
        return without_head(tensors, own, ignored=("head.",))

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the numbers of a window's pairs of tokens."""
        del dtype
        for block in self.blocks:
            cast("Any", block).attn.define_relative_position_index()
        self._keep_indices_out_of_files()

    def _keep_indices_out_of_files(self) -> None:
        for block in self.blocks:
            attention = cast("Any", block).attn
            attention.register_buffer("relative_position_index", attention.relative_position_index, persistent=False)


def table_for_window(table_Rh: Tensor, window: tuple[int, int, int], *, entries: int) -> Tensor:
    """A table [R, h] of offsets within windows of another length in time, as a table for `window` with `entries` rows.

    An offset that the table does not have gets the row of the farthest in its direction. A table for another height or
    width stays as it is, and does not fit.
    """
    in_plane = entries // (2 * window[0] - 1)
    times, rest = divmod(table_Rh.shape[0], in_plane)
    if table_Rh.shape[0] == entries or rest or times % 2 == 0:
        return table_Rh
    offsets = torch.arange(1 - window[0], window[0]).clamp(-(times // 2), times // 2) + times // 2
    return table_Rh.unflatten(0, (times, in_plane))[offsets.to(table_Rh.device)].flatten(0, 1)
