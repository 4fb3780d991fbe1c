"""What every method declares, before anything is built.

A method either only *reads* frozen tokens, and then any number of its students share one backbone pass, or it
*changes* the tower, and then it trains alone.
"""

from typing import TYPE_CHECKING, ClassVar

from side4video.core.spec import Spec
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import FeatureRequest

if TYPE_CHECKING:
    from side4video.models.networks.contract import Network, RetrievalNetwork
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower


class MethodSpec(Spec):
    """The document of a method: what is trained beside, or inside, the frozen tower."""

    packable: ClassVar[bool] = True
    """Whether the method only reads frozen tokens."""

    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16", "8-bit")
    """`backbone.precision` that the method can work with."""

    tasks: ClassVar[tuple[str, ...]] = ("recognition",)
    """Kinds of the tasks that it is defined for."""

    classifiers: ClassVar[tuple[str, ...]] = ("linear", "text")
    """For recognition: kinds of `task.classifier` that it may stand under."""

    trains_text: ClassVar[bool] = True
    """For retrieval: whether its authors train the text tower; where they do not, it is frozen."""

    @property
    def most_words(self) -> int:
        """For retrieval: tokens of a text, at most; CLIP's text towers have 77 positions."""
        return 77

    def reads(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """What it reads of the tower; nothing, where it runs the tower itself.

        Raises:
            PydanticCustomError: If the tower, or clips of `frames` frames, cannot serve it: `core.spec.wrong`.
        """
        raise NotImplementedError

    def frame_request(self, tower: TowerShape, *, frames: int) -> FeatureRequest:
        """What it reads for retrieval: what it reads anyway, and the last block's [CLS] token."""
        return self.reads(tower, frames=frames) | FeatureRequest(class_token=True)

    def output_dim(self, tower: TowerShape) -> int:
        """Width of the features that `build`'s network returns: what a task's head is put on."""
        raise NotImplementedError

    def build(self, tower: "FrozenTower", *, frames: int) -> "Network":
        """The trainable network for clips of `frames` frames, on torch's current default device.

        A method that only reads uses the tower's sizes alone (a tower on `meta` will do).
        """
        raise NotImplementedError

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "RetrievalNetwork":
        """For retrieval: the network of both sides, on torch's current default device.

        It takes the text tower over, whose parameters need a gradient where they are to be trained.
        """
        raise NotImplementedError
