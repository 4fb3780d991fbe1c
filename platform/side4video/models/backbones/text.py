"""A text tower of any size in CLIP's layout, for an image tower of any size."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from side4video.core.bounds import Count, Layers, Width
from side4video.core.spec import Spec

VOCABULARY = 49408
"""Size of the vocabulary of CLIP's tokenizer."""
CLIP_WORDS = 77
"""Positions of CLIP's text towers."""


class NoTextSpec(Spec):
    """No text tower."""

    kind: Literal["none"] = "none"


class TextTransformerSpec(Spec):
    """CLIP's text transformer: causal, with the feature at a text's end token."""

    kind: Literal["transformer"] = "transformer"
    width: Width = 512
    """Channels of a token."""
    layers: Layers = 12
    """Blocks."""
    head_width: Width = 64
    """Channels of one attention head."""
    words: Count = CLIP_WORDS
    """Maximum number of tokens of a text, start and end included."""

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """`width` must be a multiple of `head_width`."""
        if self.width % self.head_width:
            raise ValueError(
                f"width {self.width} is not a multiple of head_width {self.head_width}; "
                f"fix: set width to {max(1, round(self.width / self.head_width)) * self.head_width}"
            )
        return self

    def config(self) -> dict[str, int]:
        """The sizes under open_clip's names."""
        return {
            "context_length": self.words,
            "vocab_size": VOCABULARY,
            "width": self.width,
            "heads": self.width // self.head_width,
            "layers": self.layers,
        }


TextSide = Annotated[NoTextSpec | TextTransformerSpec, Field(discriminator="kind")]
