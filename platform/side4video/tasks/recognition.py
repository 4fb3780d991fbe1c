"""Action recognition: the document of the task."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from side4video.core.spec import Spec

if TYPE_CHECKING:
    from side4video.tasks.classification import Classification


class RecognitionSpec(Spec):
    """One label a clip: a linear head, cross-entropy, accuracies."""

    kind: Literal["recognition"] = "recognition"
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the target spread over all classes (Table 12)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before the head (the authors' configurations: 0)."""

    def build(self, classes: tuple[str, ...]) -> "Classification":
        """The task for these classes."""
        from side4video.tasks.classification import Classification

        return Classification(classes, label_smoothing=self.label_smoothing, dropout=self.dropout)
