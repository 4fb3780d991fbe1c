"""Several labels a clip: the document of the task."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import ConfigDict, Field, model_validator

from side4video.core.metric import MetricSpec
from side4video.core.spec import Spec
from side4video.tasks.multi_label.metrics import METRICS

if TYPE_CHECKING:
    from torch import nn

    from side4video.tasks.context import TaskContext
    from side4video.tasks.multi_label.multi_label import MultiLabel

Focus = Annotated[float, Field(ge=0.0, le=16.0)]


class MultiLabelSpec(Spec):
    """Any number of labels per clip: a linear classifier, a loss for each class by itself, average precision."""

    # In the JSON Schema, a task without a kind is recognition.
    model_config = ConfigDict(json_schema_extra={"required": ["kind"]})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    """The metrics of an evaluation; the first one selects the best epoch."""
    method_output: ClassVar[str] = "recognition"
    """It takes methods that are defined for recognition."""
    kind: Literal["multi-label"] = "multi-label"
    loss: Literal["binary-cross-entropy", "asymmetric"] = "binary-cross-entropy"
    """Summed over the classes, and averaged over the clips. `asymmetric` (Ridnik et al., 2021, arXiv 2009.14119,
    section 2.4): easy negatives count less, and those with a probability below `clip` nothing."""
    gamma_positive: Focus = 0.0
    """Asymmetric loss: exponent of 1 - p for the classes that a clip has (the paper: 0). 0, or at least 1."""
    gamma_negative: Focus = 4.0
    """Asymmetric loss: exponent of the shifted p for the other classes (the paper: 4). 0, or at least 1."""
    clip: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Asymmetric loss: how much the probability of the other classes is shifted down (the paper: 0.05)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before the classifier."""

    @model_validator(mode="after")
    def only_the_asymmetric_loss_has_exponents(self) -> Self:
        """Values that nothing reads are mistakes; exponents between 0 and 1 have no gradient at 0."""
        fields = ("gamma_positive", "gamma_negative", "clip")
        if self.loss != "asymmetric" and (given := sorted(self.model_fields_set & set(fields))):
            changed = [name for name in given if getattr(self, name) != type(self).model_fields[name].default]
            if changed:
                raise ValueError(f"{changed[0]} is of the asymmetric loss · fix: remove it, or set loss to asymmetric")
        for name in fields[:2]:
            if 0.0 < (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} {value:g} has no finite gradient at 0 · allowed: 0, or 1 to 16 · fix: 1")
        return self

    def build(self, classes: tuple[str, ...]) -> "MultiLabel":
        """The task for these classes."""
        from side4video.tasks.multi_label.multi_label import AsymmetricLoss, MultiLabel

        asymmetric = AsymmetricLoss(self.gamma_positive, self.gamma_negative, self.clip)
        return MultiLabel(classes, asymmetric=asymmetric if self.loss == "asymmetric" else None, dropout=self.dropout)

    def assemble(self, context: "TaskContext") -> "tuple[MultiLabel, nn.Module]":
        """The task and its trainable module, initialised from torch's current generator."""
        from side4video.engine.student import StudentModule

        task = self.build(context.classes)
        network = context.method.build(context.tower, frames=context.frames)
        return task, StudentModule(cast("nn.Module", network), task.head(network.output_dim))
