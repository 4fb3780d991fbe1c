"""Action recognition: the document of the task."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from side4video.core.spec import Spec

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
    """Cosines with what the frozen text tower makes of the classes' names, times CLIP's frozen scale."""

    kind: Literal["text"] = "text"
    prompt: str = "{}"
    """What the text tower reads of a class; its name stands for `{}`."""

    @model_validator(mode="after")
    def prompt_has_a_place_for_the_name(self) -> Self:
        """All classes would be the same otherwise."""
        if self.prompt.count("{}") != 1:
            raise ValueError(
                f"the prompt {self.prompt!r} has no one place for the name · allowed: a text with one {{}} · "
                "fix: a video of {}"
            )
        return self


Classifier = Annotated[LinearClassifier | TextClassifier, Field(discriminator="kind")]


class RecognitionSpec(Spec):
    """One label a clip: a classifier, cross-entropy, accuracies."""

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5", "mean_class_accuracy")
    """What an evaluation measures; the first chooses the best epoch."""

    kind: Literal["recognition"] = "recognition"
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the target spread over all classes (Table 12)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Before the classifier (the authors' configurations: 0)."""

    classifier: Classifier = LinearClassifier()
    """What makes classes of features."""

    def build(
        self,
        classes: tuple[str, ...],
        *,
        encode_texts: "Callable[[Sequence[str]], TextFeatures] | None" = None,
        mixes_labels: bool = False,
    ) -> "Classification":
        """The task for these classes.

        Args:
            classes: Their names.
            encode_texts: The backbone's text tower, for a classifier made of texts.
            mixes_labels: Whether a training clip may have two labels.
        """
        from side4video.tasks.recognition.classification import Classification

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
            mixes_labels=mixes_labels,
        )

    def assemble(self, context: "TaskContext") -> "tuple[Classification, StudentModule]":
        """The task, and the module that is trained for it, initialised from torch's current generator."""
        from side4video.engine.student import StudentModule

        task = self.build(context.classes, encode_texts=context.encode_texts, mixes_labels=context.mixes_labels)
        network = context.method.build(context.tower, frames=context.frames)
        return task, StudentModule(cast("nn.Module", network), task.head(network.output_dim))
