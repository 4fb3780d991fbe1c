"""CLIP-Prompt, or Efficient-Prompt (Ju et al., 2022, arXiv 2112.04478): learnt vectors at texts, blocks over frames.

Both towers are frozen. The gradient of the vectors passes the text tower, whose activations are therefore kept; of the
image tower only the last [CLS] tokens are read.
"""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from side4video.core.errors import InputError
from side4video.core.spec import wrong
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.pair import Pair
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

POSITIONS = 77
"""Of CLIP's text towers."""
FEWEST_WORDS = 3
"""Tokens of a text that says something: begin, a word, end."""


class CLIPPromptSpec(MethodSpec):
    """Learnt vectors around frozen CLIP's texts, and a few blocks over its frames (CLIP-Prompt).

    A text tower has 77 positions, and vectors and tokens share them: with the authors' 16 and 16, `task.words` may be
    up to 45 (its default is 32). More is an error, and nothing is cut silently.

    The authors' release is for classes of actions; here captions stand where the names of classes do. They take the
    mean of the frames before it is given length one, `task.matching: {kind: mean}` gives each frame length one before.
    Their logits are cosines over 0.07 and nothing of that is learnt: `task.largest_logit_scale: 14.286`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    trains_text: ClassVar[bool] = False

    kind: Literal["clip-prompt"] = "clip-prompt"
    prefix: NonNegativeInt = 16
    """Learnt vectors between a text's begin and its first word (the authors: 16)."""
    postfix: NonNegativeInt = 16
    """Learnt vectors between its last word and its end (the authors: 16)."""
    layers: PositiveInt = 2
    """Blocks over the frames (the authors: 1 or 2)."""

    @model_validator(mode="after")
    def vectors_leave_room_for_words(self) -> Self:
        """Begin, one word and end need three of the positions."""
        vectors = self.prefix + self.postfix
        if vectors + FEWEST_WORDS > POSITIONS:
            raise wrong(
                "method.prefix",
                f"prefix and postfix are {vectors} vectors, and a text tower has {POSITIONS} positions for them and "
                "the text",
                allowed=f"up to {POSITIONS - FEWEST_WORDS} together, less with task.words above {FEWEST_WORDS}",
                fix="set both to 16",
            )
        return self

    @property
    def most_words(self) -> int:
        """The positions that the vectors leave."""
        return POSITIONS - self.prefix - self.postfix

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:  # noqa: ARG002
        """Nothing but the last [CLS] token."""
        return FeatureRequest()

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Pair":
        """Both sides.

        Raises:
            InputError: If the text tower is too short.
        """
        from side4video.models.networks.clip_prompt import OrderedFrames, PromptedText
        from side4video.models.networks.pair import Pair

        prompted = PromptedText(text, prefix=self.prefix, postfix=self.postfix)
        if prompted.prefix + prompted.postfix + FEWEST_WORDS > prompted.places:
            raise InputError(
                "method.prefix",
                f"{self.prefix} + {self.postfix} vectors, and this text tower has {prompted.places} positions",
                allowed=f"up to {prompted.places - FEWEST_WORDS} together",
                fix="make both smaller, or take another backbone",
            )
        video = OrderedFrames(tower, frames=frames, layers=self.layers)
        return Pair(video, prompted, output_dim=tower.shape.output_dim)
