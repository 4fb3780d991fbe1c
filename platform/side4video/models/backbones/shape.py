"""The sizes and conventions of an image tower, known from its spec alone, without torch and without weights."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from side4video.core.spec import wrong

if TYPE_CHECKING:
    from torch import Tensor

Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""
CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of pixels in 0..1 that CLIP was trained with (OpenAI's `clip.load`)."""
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
"""Channel standard deviations that CLIP was trained with."""
_OF_CLIP_TOWERS = ("tubelet_frames", "clip_frames", "merges")
Pooling = Literal["class-token", "mean", "attention", "clip"]


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
    over them. `clip`: there is one pooled feature for a whole clip, as its authors compute it."""

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
    tubelet_frames: int = 1
    """Frames of a token. 1: the tower reads frames; more: it reads whole clips."""
    clip_frames: int | None = None
    """Frames that a clip must have; None: any number that `tubelet_frames` divides."""
    merges: int = 0
    """How often 2 x 2 patches become one of twice the width (Video Swin). Grid and width are those of the end."""

    @property
    def reads_clips(self) -> bool:
        """Whether the tower reads whole clips, and its tokens are of several frames each."""
        return self.tubelet_frames > 1

    def time_steps(self, frames: int) -> int:
        """Groups of tokens of a clip: one for each frame, or for each `tubelet_frames` frames."""
        return frames // self.tubelet_frames

    def check_frames(self, frames: int) -> None:
        """Check that the tower can read clips of so many frames.

        Raises:
            PydanticCustomError: It cannot.
        """
        if self.clip_frames is not None and frames != self.clip_frames:
            raise wrong(
                "data.frames",
                f"{frames}, and the backbone's positions are for clips of {self.clip_frames} frames",
                allowed=str(self.clip_frames),
                fix=f"set data.frames to {self.clip_frames}, or backbone.frames to {frames} if the weights fit that",
            )
        if frames % self.tubelet_frames:
            nearest = max(1, round(frames / self.tubelet_frames)) * self.tubelet_frames
            raise wrong(
                "data.frames",
                f"{frames}, and a token of the backbone is of {self.tubelet_frames} frames",
                allowed=f"multiples of {self.tubelet_frames}",
                fix=f"set data.frames to {nearest}",
            )

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
        """Tokens of a frame, or of a time step of a clip: the prefix, then the patches row by row."""
        return self.prefix_tokens + self.patches

    def identity(self) -> dict[str, Any]:
        """The fields as JSON values, for digests of what was computed with the tower.

        The layout of CLIP's towers is written as in version 0.1.0, so that its caches stay valid.
        """
        fields = asdict(self)
        layout = {name: fields.pop(name) for name in ("prefix_tokens", "class_token", "pooling")}
        if not self.reads_clips:
            fields = {name: value for name, value in fields.items() if name not in _OF_CLIP_TOWERS}
        is_clips = layout == {"prefix_tokens": 1, "class_token": 0, "pooling": "class-token"}
        return fields | ({"has_class_token": True} if is_clips else layout)

    def frames_in(self, budget: int, *, bytes_of_number: int) -> int:
        """Frames whose intermediate results in one block fit into `budget` bytes; at least one, or one time step.

        The larger of two counts: queries, keys, values and the attention's output, or the MLP's hidden channels before
        and after the activation. The normalised tokens are added to either.
        """
        numbers = self.tokens * (self.width + max(4 * self.width, 2 * self.mlp_width)) * 2**self.merges
        return max(1, budget // (numbers * bytes_of_number)) * self.tubelet_frames
