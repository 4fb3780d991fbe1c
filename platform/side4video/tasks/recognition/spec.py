"""Action recognition: the document of the task."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from side4video.core.metric import MetricSpec
from side4video.core.spec import ADDED_LATER, Spec
from side4video.tasks.recognition.metrics import METRICS

if TYPE_CHECKING:
    from torch import nn

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
    more_prompts: Annotated[tuple[str, ...], ADDED_LATER] = ()
    """More texts of a class. The normalised features of all its texts are averaged (CLIP: Radford et al., 2021, section
    3.1.4)."""
    projection: Annotated[Literal["none", "tower"], ADDED_LATER] = "none"
    """`none`: the method's features are compared with those of the texts as they are. `tower`: they are first brought
    into the texts' space by the tower's projection: for `side4video` as in retrieval (eq. 4), for `full`, `aim` and
    `st-adapter` after the tower's last norm. The projection is a copy that is trained."""
    trains_scale: Annotated[bool, ADDED_LATER] = False
    """Whether CLIP's scale is trained, at the rate of what was trained before (Text4Vis); otherwise it is frozen."""

    @model_validator(mode="after")
    def prompt_has_one_placeholder(self) -> Self:
        """The prompts must contain `{}` once: otherwise all classes would have the same text."""
        for prompt in (self.prompt, *self.more_prompts):
            check_prompt(prompt)
        return self


class SpottingClassifier(Spec):
    """BIKE's: the words of a class weigh the frames of a clip; the batch's own texts are the alternatives in training.

    It is for methods whose features are of frames (`bike`). Its loss has no label smoothing.
    """

    kind: Literal["spotting"] = "spotting"
    prompt: str = "This is a video about {}"
    """The text of a class; `{}` is replaced by its name."""
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 0.01
    """Temperature of the softmax over frames (the authors: 0.01)."""

    @model_validator(mode="after")
    def prompt_has_one_placeholder(self) -> Self:
        """The prompt must contain `{}` once: otherwise all classes would have the same text."""
        check_prompt(self.prompt)
        return self


def check_prompt(prompt: str) -> None:
    """Raise the error of a text of classes that does not have one place for the name."""
    if prompt.count("{}") != 1:
        raise ValueError(
            f"the prompt {prompt!r} has no one place for the name · allowed: a text with one {{}} · "
            "fix: a video of {}"
        )


Classifier = Annotated[LinearClassifier | TextClassifier | SpottingClassifier, Field(discriminator="kind")]
TEXT_CLASSIFIERS = ("text", "spotting")
"""Kinds of classifiers that are made of the classes' names."""


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

    @model_validator(mode="after")
    def spotting_has_a_loss_of_its_own(self) -> Self:
        """The batch's texts are compared, so labels are neither smoothed nor weighted."""
        if self.classifier.kind != "spotting":
            return self
        for field, found, allowed in (
            ("label_smoothing", self.label_smoothing, 0.0),
            ("dropout", self.dropout, 0.0),
            ("class_weights", self.class_weights, "none"),
        ):
            if found != allowed:
                raise ValueError(
                    f"{field} {found}, and the classifier spotting has none · allowed: {allowed} · "
                    f"fix: set {field} to {allowed}"
                )
        return self

    def build(
        self,
        classes: tuple[str, ...],
        *,
        encode_texts: "Callable[..., TextFeatures] | None" = None,
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
        if not isinstance(self.classifier, LinearClassifier):
            if encode_texts is None:
                raise ValueError("a classifier made of texts needs the backbone's text tower")
            texts = self._encode_classes(classes, encode_texts)
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

    def _encode_classes(self, classes: tuple[str, ...], encode_texts: "Callable[..., TextFeatures]") -> "TextFeatures":
        """Features of the classes' texts; those of several prompts are normalised and averaged."""
        from side4video.models.towers.text_tower import mean_features

        prompts = [getattr(self.classifier, "prompt", "{}"), *getattr(self.classifier, "more_prompts", ())]
        # Only spotting reads words.
        options = {"with_words": True} if isinstance(self.classifier, SpottingClassifier) else {}
        encoded = [encode_texts([prompt.replace("{}", name) for name in classes], **options) for prompt in prompts]
        return mean_features(encoded)

    @property
    def projects_to_texts(self) -> bool:
        """Whether features are brought into the texts' space by the tower's projection."""
        return isinstance(self.classifier, TextClassifier) and self.classifier.projection == "tower"

    def assemble(self, context: "TaskContext") -> "tuple[Classification, nn.Module]":
        """The task and its trainable module, initialised from torch's current generator."""
        from side4video.engine.student import StudentModule

        task = self.build(
            context.classes,
            encode_texts=context.encode_texts,
            mixes_labels=context.mixes_labels,
            training_labels=context.training_labels,
            extra_metrics=context.extra_metrics,
        )
        build = context.method.build_for_texts if self.projects_to_texts else context.method.build
        network = build(context.tower, frames=context.frames)
        if isinstance(self.classifier, SpottingClassifier):
            from side4video.tasks.recognition.spotting import SpottingHead, SpottingModule

            if task.texts is None:
                raise ValueError("a classifier made of texts needs the texts")
            head = SpottingHead(task.texts, temperature=self.classifier.temperature)
            return task, SpottingModule(cast("nn.Module", network), head, context.process)
        return task, StudentModule(cast("nn.Module", network), task.head(network.output_dim))
