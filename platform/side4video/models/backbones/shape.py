"""The sizes and conventions of an image tower, known from its spec alone, without torch and without weights."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""
CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of pixels in 0..1 that CLIP was trained with (OpenAI's `clip.load`)."""
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
"""Channel standard deviations that CLIP was trained with."""
Pooling = Literal["class-token", "mean", "attention"]


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Which tokens of a frame are patches, and which is the class token. The patches are last, row by row.

    Legend: S tokens of a frame, P patches, D channels; any leading dimensions.
    """

    prefix_tokens: int
    """Tokens before the patches: class token and registers."""
    class_token: int | None
    """Index of the class token; None where the tower has none."""
    pooling: Pooling
    """What the tower's pooled frame feature is computed from: the class token, the mean of the patches, or an attention
    over them."""

    def __post_init__(self) -> None:
        if self.class_token is not None and not 0 <= self.class_token < self.prefix_tokens:
            raise ValueError(f"class token {self.class_token} is not one of the {self.prefix_tokens} prefix tokens")
        if self.class_token is None and self.pooling == "class-token":
            raise ValueError("a tower without a class token cannot pool by it")

    def patch_tokens(self, tokens_SD: "Tensor") -> "Tensor":
        """The patches [..., P, D] of tokens [..., S, D], a view."""
        return tokens_SD[..., self.prefix_tokens :, :]

    def class_token_of(self, tokens_SD: "Tensor") -> "Tensor":
        """The class token [..., D] of tokens [..., S, D], a view.

        Raises:
            ValueError: The tower has none.
        """
        if self.class_token is None:
            raise ValueError("the tower has no class token")
        return tokens_SD.select(-2, self.class_token)

    def without_registers(self, tokens_SD: "Tensor") -> "Tensor":
        """The class token, if there is one, and the patches; `tokens_SD` itself where there are no registers."""
        if self.prefix_tokens == (0 if self.class_token is None else 1):
            return tokens_SD
        first = [] if self.class_token is None else [self.class_token]
        return tokens_SD[..., [*first, *range(self.prefix_tokens, tokens_SD.shape[-2])], :]


@dataclass(frozen=True, kw_only=True)
class TowerShape(TokenLayout):
    """The sizes and conventions of one image tower."""

    depth: int
    """Transformer blocks; taps are numbered 0 .. depth - 1."""
    width: int
    """Channels of a token."""
    heads: int
    """Attention heads of a block."""
    patch_size: int
    """Side of a patch, pixels."""
    image_size: int
    """Side of the square frame the position embeddings are for, pixels."""
    output_dim: int
    """Channels of a projected frame feature, shared with the text tower."""
    mlp_width: int
    """Hidden channels of a block's MLP (of each of its two halves, where it is gated)."""
    quick_gelu: bool
    """The MLP's activation is `x * sigmoid(1.702 x)` and not the exact GELU."""
    mean: Channels
    """Subtracted from pixels in 0..1."""
    std: Channels
    """Divides the pixels after the subtraction."""
    post_norm: bool
    """Each branch is normalised after it is computed, and not before (EVA-CLIP E/14)."""
    plain_attention: bool = True
    """Attention over any tokens, whose queries and keys can be read: CLIP's, not EVA-CLIP's."""
    layer_norm_epsilon: float
    """Added to the variance by every LayerNorm."""

    @property
    def grid(self) -> int:
        """Patches along one side of a frame."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of a frame."""
        return self.grid**2

    @property
    def tokens(self) -> int:
        """Tokens of a frame: the prefix, then the patches row by row."""
        return self.prefix_tokens + self.patches

    def identity(self) -> dict[str, Any]:
        """The fields as JSON values, for digests of what was computed with the tower.

        The layout of CLIP's towers is written as in version 0.1.0, so that its caches stay valid.
        """
        fields = asdict(self)
        layout = {name: fields.pop(name) for name in ("prefix_tokens", "class_token", "pooling")}
        is_clips = layout == {"prefix_tokens": 1, "class_token": 0, "pooling": "class-token"}
        return fields | ({"has_class_token": True} if is_clips else layout)

    def frames_in(self, budget: int, *, bytes_of_number: int) -> int:
        """Frames whose intermediate results in one block fit into `budget` bytes; at least one.

        The larger of two counts: queries, keys, values and the attention's output, or the MLP's hidden channels before
        and after the activation. The normalised tokens are added to either.
        """
        numbers = self.tokens * (self.width + max(4 * self.width, 2 * self.mlp_width))
        return max(1, budget // (numbers * bytes_of_number))
