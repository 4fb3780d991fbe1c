"""The section `optimization`: the optimizer, with the published recipes of all methods."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from side4video.engine.optimizer_spec import OptimizerSpec
from side4video.models.methods import Method

RECIPES: dict[str, Any] = {
    name: settings for method in get_args(get_args(Method)[0]) for name, settings in method.RECIPES.items()
}
"""Settings of each recipe, by name. Each method defines its own recipes."""

if TYPE_CHECKING:
    Recipe = str
else:
    Recipe = Literal["custom", *RECIPES]


class OptimizationSpec(OptimizerSpec):
    """AdamW with linear warm-up and cosine decay (Table 12).

    A recipe has the settings of a column of Table 12, or of another method's authors; each method's page describes its
    recipes. All authors train in fp16 with a loss scaler; a recipe does not change `precision`.
    """

    PRESETS: ClassVar = {"recipe": RECIPES}
    recipe: Recipe = "custom"
    """A column of Table 12, or another method's settings: sets learning rate, batch size, length and warm-up, and
    other fields that its authors set. Values that are given beside it take precedence."""
