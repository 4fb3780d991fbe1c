"""The interface to a library's image transformer, which a `FrozenTower` runs block by block.

Legend: N frames, or whole clips of a tower that reads clips, C channels, H, W pixels, P tokens of a frame or of a clip
(prefix tokens first), D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from side4video.models.backbones.shape import Pooling


class LastLayers(NamedTuple):
    """The layers between the last block's tokens and the space shared with the texts."""

    norm: nn.Module
    """The final norm of a token."""
    weight_DE: Tensor | None
    """The projection; None where there is none."""
    bias_E: Tensor | None


class Trunk(Protocol):
    """One library's transformer, split where tokens can be read."""

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class token and registers."""
        ...

    @property
    def class_token(self) -> int | None:
        """Index of the class token; None where there is none."""
        ...

    @property
    def pooling(self) -> Pooling:
        """What `pool` computes its feature from."""
        ...

    @property
    def visual(self) -> nn.Module:
        """The library's own module; the names of its parameters are those of the weights."""
        ...

    @property
    def blocks(self) -> Sequence[Any]:
        """The library's blocks in their order."""
        ...

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Tokens [N, P, D] that enter the first block, from normalised frames [N, C, H, W].

        `added_N1D` is added to the tokens of each frame after the positions and before any norm.
        """
        ...

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Output tokens [N, P, D] of block `index` (from 0) in a new tensor; nothing is saved for backward.

        Where `read` is a list, the block's queries and keys [N, h, P, k] are appended to it.
        """
        ...

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The output of block `index`'s attention branch, norm included, with a graph."""
        ...

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The output of block `index`'s MLP branch, norm included, with a graph."""
        ...

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The norm before the attention of a pre-norm block."""
        ...

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Block `index`'s attention without its norm, over any groups of tokens [N, P, D]."""
        ...

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The norm before the MLP of a pre-norm block."""
        ...

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Block `index`'s MLP without its norm."""
        ...

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """Pooled frame features [N, D] from the last block's tokens, final norm included."""
        ...

    def project(self, features_ND: Tensor) -> Tensor:
        """Features [N, E] in the space shared with the text tower, E channels."""
        ...

    def last_layers(self) -> LastLayers:
        """The final norm, the projection and its bias, as `pool` and `project` use them."""
        ...

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The image tower's tensors of a file under this library's names; unknown names stay unchanged."""
        ...

    def initial_std(self, name: str) -> float | None:
        """Standard deviation of a parameter's random initialisation; None for norms and biases (ones and zeros)."""
        ...

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the buffers that no file holds, after the module was created on `meta`."""
        ...
