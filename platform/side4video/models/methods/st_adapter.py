"""ST-Adapter (Pan et al., 2022, arXiv 2206.13559): bottlenecks with a convolution over time inside a frozen tower.

Each adapter changes the residual stream of the patches, not of the class token. Its output starts at zero, so a new
student computes the same as the frozen tower.

In the last block, the adapter before the MLP has no effect: it changes patches, an MLP mixes no tokens, and the head
reads the class token. The authors' code has it and the paper counts its parameters, so it is here too.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from side4video.core.bounds import Width
from side4video.models.method import MethodSpec, recipe

if TYPE_CHECKING:
    from side4video.models.networks.st_adapter import STAdapter
    from side4video.models.towers.frozen_tower import FrozenTower


def _recipe(learning_rate: float, batch_size: int, *, epochs: int) -> dict[str, Any]:
    decay = {"weight_decay": 1e-2, "weight_decay_on": "matrices"}
    return recipe(learning_rate, batch_size, epochs=epochs, warmup_epochs=2) | decay


class STAdapterSpec(MethodSpec):
    """Adapters that mix over time, inside the tower (ST-Adapter).

    The authors initialise the head with N(0, 0.02); here the task's head has the same initial values for all methods.

    The recipes `st-adapter-...` are the authors': 1e-3 per 256 clips, no decay of biases.
    """

    packable: ClassVar[bool] = False
    projects_to_texts: ClassVar[bool] = True
    needs_class_token: ClassVar[bool] = True
    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "st-adapter-ssv2": _recipe(1e-3, 256, epochs=50),
        "st-adapter-k400": _recipe(7.5e-4, 192, epochs=12),
    }
    kind: Literal["st-adapter"] = "st-adapter"
    positions: Literal["pre-mlp", "both"] = "pre-mlp"
    """Before each block's MLP (the authors' Kinetics recipe, and the row of Table 2 in Side4Video), or before attention
    and before the MLP (their Something-Something recipe)."""
    dim: Width = 384
    """Channels of the bottleneck (the authors: 384). The convolution's kernel is 3 frames."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """On the features (the authors' code)."""

    def build(self, tower: "FrozenTower", *, frames: int) -> "STAdapter":  # noqa: ARG002
        """The adapters, around the tower."""
        from side4video.models.networks.st_adapter import STAdapter

        return STAdapter(tower, dim=self.dim, positions=self.positions, dropout=self.dropout)
