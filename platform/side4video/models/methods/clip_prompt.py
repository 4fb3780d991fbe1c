"""CLIP-Prompt, or Efficient-Prompt (Ju et al., 2022, arXiv 2112.04478): learned vectors at texts, blocks over frames.

Both towers are frozen. The gradient of the vectors passes through the text tower, so its activations are saved. Of the
image tower only the last class tokens are read.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from side4video.core.bounds import FewOrNone, Layers
from side4video.core.errors import InputError
from side4video.core.spec import wrong
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

POSITIONS = 77
"""Of CLIP's text towers."""
MIN_WORDS = 3
"""Tokens of the shortest text: start, one word, end."""


class CLIPPromptSpec(MethodSpec):
    """Learned vectors around the texts of a frozen CLIP, and a few blocks over its frames (CLIP-Prompt).

    Vectors and tokens share the text tower's 77 positions: with the authors' 16 and 16, `task.words` can be up to 45
    (its default is 32). More is an error.

    The authors' release classifies actions; here captions take the place of class names. The authors normalise the
    mean of the frames; `task.matching: {kind: mean}` normalises each frame first. Their logits are cosines over 0.07,
    which is not learned: set `task.largest_logit_scale: 14.286`.

    The recipe `clip-prompt` has neither a length nor a schedule: those for retrieval are not known.
    """

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False
    needs_causal_texts: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clip-prompt": {"learning_rate": 1e-4, "weight_decay": 0.01, "batch_size": 64, "warmup": {"steps": 0}}
    }
    kind: Literal["clip-prompt"] = "clip-prompt"
    prefix: FewOrNone = 16
    """Learned vectors between a text's start token and its first word (the authors: 16)."""
    postfix: FewOrNone = 16
    """Learned vectors between the last word and the end token (the authors: 16)."""
    layers: Layers = 2
    """Blocks over the frames (the authors: 1 or 2)."""

    @model_validator(mode="after")
    def vectors_leave_room_for_words(self) -> Self:
        """Start, one word and end need three of the positions."""
        vectors = self.prefix + self.postfix
        if vectors + MIN_WORDS > POSITIONS:
            raise wrong(
                "method.prefix",
                f"prefix and postfix are {vectors} vectors, and a text tower has {POSITIONS} positions for them and "
                "the text",
                allowed=f"up to {POSITIONS - MIN_WORDS} together, less with task.words above {MIN_WORDS}",
                fix="set both to 16",
            )
        return self

    @property
    def most_words(self) -> int:
        """The positions that are left beside the vectors."""
        return POSITIONS - self.prefix - self.postfix

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both sides.

        Raises:
            InputError: The text tower has too few positions.
        """
        from side4video.models.networks.clip_prompt import OrderedFrames, PromptedText
        from side4video.models.networks.pair import Pair

        prompted = PromptedText(text, prefix=self.prefix, postfix=self.postfix)
        if prompted.prefix + prompted.postfix + MIN_WORDS > prompted.positions:
            raise InputError(
                "method.prefix",
                f"{self.prefix} + {self.postfix} vectors, and this text tower has {prompted.positions} positions",
                allowed=f"up to {prompted.positions - MIN_WORDS} together",
                fix="make both smaller, or take another backbone",
            )
        video = OrderedFrames(tower, frames=frames, layers=self.layers)
        return Pair(video, prompted, output_dim=tower.shape.output_dim)
