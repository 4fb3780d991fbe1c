"""Action recognition: the document of the task."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from side4video.core.metric import MetricSpec
from side4video.core.spec import ADDED_LATER, Spec
from side4video.tasks.recognition.metrics import METRICS

if TYPE_CHECKING:
    from torch import nn

    from side4video.engine.student import StudentModule
    from side4video.models.towers.text_tower import TextFeatures
    from side4video.tasks.context import TaskContext
    from side4video.tasks.recognition.classification import Classification


class LinearClassifier(Spec):
    """A trained linear layer."""

    kind: Literal["linear"] = "linear"


class TextClassifier(Spec):
    """Cosines with the frozen text tower's features of the class names, times CLIP's scale."""

    kind: Literal["text"] = "text"
    prompt: str = "{}"
    """The text of a class; `{}` is replaced by its name."""
    trains_scale: Annotated[bool, ADDED_LATER] = False
    """Whether CLIP's scale is trained, at the rate of what was trained before (Text4Vis); otherwise it is frozen."""

    @model_validator(mode="after")
    def prompt_has_one_placeholder(self) -> Self:
        """The prompt must contain `{}` once: otherwise all classes would have the same text."""
        if self.prompt.count("{}") != 1:
            raise ValueError(
                f"the prompt {self.prompt!r} has no one place for the name · allowed: a text with one {{}} · "
                "fix: a video of {}"
            )
        return self


Classifier = Annotated[LinearClassifier | TextClassifier, Field(discriminator="kind")]


class RecognitionSpec(Spec):
    """One label per clip: a classifier, cross-entropy, accuracies."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    """The metrics of an evaluation; the first one selects the best epoch."""
    method_output: ClassVar[str] = "recognition"
    """It takes methods that are defined for this task."""
    kind: Literal["recognition"] = "recognition"
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the target spread over all classes (Table 12)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before the classifier (the authors' configurations: 0)."""
    class_weights: Annotated[Literal["none", "inverse"], ADDED_LATER] = "none"
    """`inverse`: in training, the loss of a clip counts in inverse proportion to the number of clips of its class. The
    mean weight of a training clip is 1. Evaluation has no weights."""
    classifier: Classifier = LinearClassifier()
    """The classifier on the features."""

    def build(
        self,
        classes: tuple[str, ...],
        *,
        encode_texts: "Callable[[Sequence[str]], TextFeatures] | None" = None,
        mixes_labels: bool = False,
        training_labels: "Callable[[], Sequence[int | None]]" = tuple,
        extra_metrics: tuple[MetricSpec, ...] = (),
    ) -> "Classification":
        """The task for these classes.

        `encode_texts` computes text features, for a classifier of kind `text`. `mixes_labels` means that a training
        clip can have two labels. `training_labels` gives the class positions of the training clips, for weights.
        `extra_metrics` are computed in each evaluation beside the task's own.
        """
        from side4video.tasks.recognition.classification import Classification, inverse_weights

        texts = None
        if isinstance(self.classifier, TextClassifier):
            if encode_texts is None:
                raise ValueError("a classifier made of texts needs the backbone's text tower")
            texts = encode_texts([self.classifier.prompt.replace("{}", name) for name in classes])
        return Classification(
            classes,
            label_smoothing=self.label_smoothing,
            dropout=self.dropout,
            texts=texts,
            trains_scale=isinstance(self.classifier, TextClassifier) and self.classifier.trains_scale,
            mixes_labels=mixes_labels,
            class_weights=inverse_weights(training_labels(), len(classes)) if self.class_weights == "inverse" else None,
            extra_metrics=extra_metrics,
        )

    def assemble(self, context: "TaskContext") -> "tuple[Classification, StudentModule]":
        """The task and its trainable module, initialised from torch's current generator."""
        from side4video.engine.student import StudentModule

        task = self.build(
            context.classes,
            encode_texts=context.encode_texts,
            mixes_labels=context.mixes_labels,
            training_labels=context.training_labels,
            extra_metrics=context.extra_metrics,
        )
        network = context.method.build(context.tower, frames=context.frames)
        return task, StudentModule(cast("nn.Module", network), task.head(network.output_dim))
