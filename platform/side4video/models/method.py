"""What every method declares, before anything is built.

A method either only *reads* frozen tokens, and then any number of its students share one backbone pass, or it
*changes* the tower, and then it trains alone.
"""

from typing import TYPE_CHECKING, ClassVar

from side4video.core.spec import Spec
from side4video.models.backbones.shape import TowerShape

if TYPE_CHECKING:
    from side4video.models.networks.contract import Network


class MethodSpec(Spec):
    """The document of a method: what is trained beside, or inside, the frozen tower."""

    packable: ClassVar[bool] = True
    """Whether the method only reads frozen tokens."""
    reads_pooled: ClassVar[bool] = False
    """Whether it reads the tower's pooled frame feature (its final norm of the [CLS] token)."""

    def taps(self, tower: TowerShape) -> tuple[int, ...]:
        """0-based indices of the blocks whose output tokens it reads, ascending.

        Raises:
            ValueError: If the tower cannot give them; the message is one line for the user.
        """
        raise NotImplementedError

    def build(self, tower: TowerShape, *, frames: int) -> "Network":
        """The trainable network for clips of `frames` frames, on torch's current default device."""
        raise NotImplementedError
