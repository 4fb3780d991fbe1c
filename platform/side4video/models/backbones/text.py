"""A text tower of any size in the layout of CLIP's, beside an image tower of any size."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from side4video.core.spec import Spec

VOCABULARY = 49408
"""Tokens that CLIP's tokenizer knows."""
CLIP_WORDS = 77
"""Tokens of a text that CLIP's text towers have positions for."""


class NoTextSpec(Spec):
    """There are no texts."""

    kind: Literal["none"] = "none"


class TextTransformerSpec(Spec):
    """CLIP's text transformer: causal, read at a text's last token."""

    kind: Literal["transformer"] = "transformer"
    width: PositiveInt = 512
    """Channels of a token."""
    layers: PositiveInt = 12
    """Blocks."""
    head_width: PositiveInt = 64
    """Channels of one attention head."""
    words: PositiveInt = CLIP_WORDS
    """The most tokens of a text, begin and end among them."""

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """Refuse a width that is no whole number of heads."""
        if self.width % self.head_width:
            raise ValueError(
                f"width {self.width} is not a multiple of head_width {self.head_width}; "
                f"fix: set width to {max(1, round(self.width / self.head_width)) * self.head_width}"
            )
        return self

    def config(self) -> dict[str, int]:
        """The sizes by open_clip's names."""
        return {
            "context_length": self.words,
            "vocab_size": VOCABULARY,
            "width": self.width,
            "heads": self.width // self.head_width,
            "layers": self.layers,
        }


TextSide = Annotated[NoTextSpec | TextTransformerSpec, Field(discriminator="kind")]
