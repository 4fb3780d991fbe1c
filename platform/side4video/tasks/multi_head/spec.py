"""Several heads: the document of the task."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import ConfigDict, Field

from side4video.core.metric import MetricSpec
from side4video.core.spec import Spec
from side4video.tasks.multi_head.metrics import METRICS

if TYPE_CHECKING:
    from torch import nn

    from side4video.tasks.context import TaskContext
    from side4video.tasks.multi_head.multi_head import MultiHead


class MultiHeadSpec(Spec):
    """A label of each head per clip, such as verb and noun: a linear classifier each on one feature."""

    # In the JSON Schema, a task without a kind is recognition.
    model_config = ConfigDict(json_schema_extra={"required": ["kind"]})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    """The metrics of all heads together; the first one selects the best epoch. An evaluation also has those of each
    head, such as `verb_top1`."""
    method_output: ClassVar[str] = "recognition"
    """It takes methods that are defined for recognition."""
    kind: Literal["multi-head"] = "multi-head"
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of each head's target spread over all its classes."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before the classifiers, the same for all."""

    def assemble(self, context: "TaskContext") -> "tuple[MultiHead, nn.Module]":
        """The task and its trainable module, initialised from torch's current generator.

        Raises:
            InputError: The data set has no heads.
        """
        from side4video.engine.student import StudentModule
        from side4video.tasks.multi_head.multi_head import MultiHead

        task = MultiHead(context.heads, label_smoothing=self.label_smoothing, dropout=self.dropout)
        network = context.method.build(context.tower, frames=context.frames)
        return task, StudentModule(cast("nn.Module", network), task.head(network.output_dim))
