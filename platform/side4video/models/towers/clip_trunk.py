"""What networks that read whole clips have in common.

Legend: B clips, T frames, C channels, H, W pixels, S tokens of a clip (the patches are last, step by step), D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from side4video.models.backbones.shape import Pooling
from side4video.models.towers.trunk import LastLayers


class ClipTrunk(nn.Module):
    """The base of the trunks that read clips: a `Trunk` whose N is the number of clips, not of frames.

    A subclass has `visual`, `blocks`, `norm`, `embed` and `rename`, and its own `run_block` and `pool` where they
    differ. Blocks keep their graph, so that `full` can train them.
    """

    prefix_tokens: int = 0
    class_token: int | None = None
    pooling: Pooling = "clip"
    visual: nn.Module
    blocks: Sequence[nn.Module]
    """The blocks in their order."""

    @property
    def norm(self) -> nn.Module:
        """The final norm."""
        raise NotImplementedError

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Tokens [B, S, D] that enter the first block, from normalised clips [B, T, C, H, W]."""
        raise NotImplementedError

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Output tokens [B, S, D] of a block.

        Raises:
            NotImplementedError: Queries and keys are requested.
        """
        check_no_attention(read)
        return self.blocks[index](tokens_NPD)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """Pooled features [B, D] of the clips from the last block's tokens [B, S, D]: the mean after the final norm."""
        return self.norm(tokens_NPD).mean(dim=1)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a file under the library's names, without those of a head or of pretraining."""
        raise NotImplementedError

    def project(self, features_ND: Tensor) -> Tensor:
        """There is no space shared with texts: the features themselves."""
        return features_ND

    def last_layers(self) -> LastLayers:
        """The final norm."""
        return LastLayers(self.norm, None, None)

    def initial_std(self, name: str) -> float | None:
        """0.02, as all authors have it; None for norms and biases."""
        return None if name.endswith("bias") or "norm" in name else 0.02

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the buffers that no file holds, after the module was created on `meta`."""

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Not for clips."""
        raise self._only_frames(index, tokens_NPD)

    def _only_frames(self, *unused: Any) -> NotImplementedError:
        del unused
        return NotImplementedError("methods that change the blocks of a tower need one that reads frames")


def check_no_attention(read: object) -> None:
    """Raise the error of a block whose queries and keys are requested."""
    if read is not None:
        raise NotImplementedError("queries and keys are read of towers that read frames")


def without_head(state: Mapping[str, Tensor], own: Mapping[str, Any], *, ignored: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors but those whose name begins with one of `ignored` and is not one of the module's own."""
    return {name: tensor for name, tensor in state.items() if name in own or not name.startswith(ignored)}
