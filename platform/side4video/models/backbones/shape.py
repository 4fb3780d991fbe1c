"""What an image tower looks like, without building it: known from its spec alone, in milliseconds, without torch."""

from dataclasses import dataclass

Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""

CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of pixels in 0..1 that CLIP was trained with (OpenAI's `clip.load`)."""
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
"""Channel standard deviations that CLIP was trained with."""


@dataclass(frozen=True, kw_only=True)
class TowerShape:
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
    has_class_token: bool = True
    """The first token of a frame is a class token."""
    quick_gelu: bool
    """The MLP's activation is `x * sigmoid(1.702 x)` and not the exact GELU."""
    mean: Channels
    """Subtracted from pixels in 0..1."""
    std: Channels
    """Then divided by."""
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
        """Tokens of a frame: the class token first, then the patches row by row."""
        return self.patches + int(self.has_class_token)

    def frames_in(self, budget: int, *, bytes_of_number: int) -> int:
        """Frames whose intermediate results in one block fit into `budget` bytes; at least one.

        Queries, keys, values and the attention's output, or the MLP's hidden channels before and after the
        activation: whichever is more, beside the normalised tokens.
        """
        numbers = self.tokens * (self.width + max(4 * self.width, 2 * self.mlp_width))
        return max(1, budget // (numbers * bytes_of_number))
