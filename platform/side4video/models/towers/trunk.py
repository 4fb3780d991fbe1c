"""What a library's image transformer must offer to be streamed block by block.

Legend: N frames, C channels, H, W pixels, P tokens of a frame (class token first), D width.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn


class Trunk(Protocol):
    """One library's transformer, cut where tokens can be taken out. It computes; it decides nothing."""

    @property
    def visual(self) -> nn.Module:
        """The library's own module; the names of its parameters are those of the weights."""
        ...

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Tokens [N, P, D] that enter the first block, from normalised frames [N, C, H, W].

        `added_N1D` is added to the tokens of each frame after the positions and before any norm.
        """
        ...

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Output tokens [N, P, D] of block `index` (from 0), in memory of their own; nothing is kept for backward.

        Where `read` is a list, the block's queries and keys [N, h, P, k] are appended to it.
        """
        ...

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """What block `index` adds to its tokens first, norm included; gradients pass."""
        ...

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """What block `index` adds to its tokens then, norm included; gradients pass."""
        ...

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The norm in front of a pre-norm block's attention."""
        ...

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Block `index`'s attention without its norm, over any groups of tokens [N, P, D]."""
        ...

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The norm in front of a pre-norm block's MLP."""
        ...

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Block `index`'s MLP without its norm."""
        ...

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """Frame features [N, D] from the last block's tokens: the final norm of the class token."""
        ...

    def project(self, features_ND: Tensor) -> Tensor:
        """Features [N, E] in the space shared with the text tower, E channels."""
        ...

    def last_layers(self) -> tuple[nn.LayerNorm, Tensor, Tensor | None]:
        """What `pool` and `project` compute with: the final norm, the projection [D, E], and its bias."""
        ...

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The image part of a file's tensors under this library's names; what it does not know stays as it is."""
        ...

    def initial_std(self, name: str) -> float | None:
        """Standard deviation of a parameter's random initialisation; None for norms and biases (ones and zeros)."""
        ...

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute what is no weight, and therefore in no file, after the module was made on `meta`."""
        ...
