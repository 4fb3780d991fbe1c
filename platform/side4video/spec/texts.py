"""Rules for documents that read texts: captions for retrieval, or names of classes for a text classifier."""

from typing import TYPE_CHECKING

from side4video.core.spec import wrong
from side4video.models.backbones.text import CLIP_WORDS
from side4video.tasks.recognition.spec import TEXT_CLASSIFIERS, RecognitionSpec

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment


def check_texts(experiment: "Experiment") -> None:
    """Check that the backbone's text tower, the method, the data and the batch fit a task with texts.

    Raises:
        PydanticCustomError: They do not.
    """
    if experiment.task.kind == "retrieval":
        _check_backbone(experiment)
        _check_batch(experiment)
        _check_words(experiment, experiment.task.words)
        _check_matching(experiment, experiment.task.matching.kind)
    elif experiment.task.kind == "recognition" and experiment.task.classifier.kind in TEXT_CLASSIFIERS:
        _check_classifier(experiment)


def _check_backbone(experiment: "Experiment") -> None:
    backbone, method = experiment.backbone, experiment.method
    if not backbone.has_text_tower:
        raise wrong(
            "backbone",
            f"{_without_text_tower(experiment)}, and the task is retrieval",
            allowed="kind: open-clip, or kind: vit with text: {kind: transformer}",
            fix="name such a backbone",
        )
    if method.needs_causal_texts and not backbone.has_causal_texts:
        raise wrong(
            "method.kind",
            f"{method.kind}, which is for text towers whose tokens see only those before them, and those of "
            f"{backbone.library_model} see all",
            allowed="a backbone of CLIP, EVA-CLIP, PE-Core or MetaCLIP",
            fix="take one of them, or another method",
        )


def _check_batch(experiment: "Experiment") -> None:
    for where, found, fix in (
        ("optimization.accumulation", experiment.optimization.accumulation, "all texts and videos of a batch meet"),
        (
            "data.repeated_sampling",
            experiment.data.repeated_sampling,
            "a video would be a wrong answer to its own text",
        ),
        ("data.views", experiment.data.views.total, "one feature stands for a video"),
    ):
        if found != 1:
            raise wrong(where, f"{found}, and the task is retrieval: {fix}", allowed="1", fix="set it to 1")


def _check_words(experiment: "Experiment", words: int) -> None:
    backbone = experiment.backbone
    max_words = experiment.method.most_words - max(0, CLIP_WORDS - backbone.most_words)
    if backbone.exact_words not in (0, words):
        raise wrong(
            "task.words",
            f"{words}, and the text tower of {backbone.library_model} reads a text at the last of "
            f"{backbone.exact_words} tokens",
            allowed=f"{backbone.exact_words}",
            fix=f"set it to {backbone.exact_words}",
        )
    if words > max_words:
        raise wrong(
            "task.words",
            f"{words} tokens, and the backbone and the method {experiment.method.kind} leave {max_words}",
            allowed=f"3 to {max_words}",
            fix=f"set it to {max_words}",
        )


def _check_matching(experiment: "Experiment", kind: str) -> None:
    allowed = experiment.method.matchings
    if kind not in allowed:
        raise wrong(
            "task.matching.kind",
            f"{kind}, and {experiment.method.matching_reason}",
            allowed=", ".join(allowed),
            fix=f"set task.matching to {experiment.method.matching_fix}",
        )


def _check_classifier(experiment: "Experiment") -> None:
    mix = experiment.data.augmentation.mix.kind
    if mix != "none" and isinstance(experiment.task, RecognitionSpec) and experiment.task.classifier.kind == "spotting":
        raise wrong(
            "data.augmentation.mix",
            f"{mix}, and the classifier spotting compares each clip with the text of one class",
            allowed="{kind: none}",
            fix="set data.augmentation.mix to {kind: none}",
        )
    linear = "{kind: linear}, or " if "linear" in experiment.method.classifiers else ""
    if not experiment.backbone.has_text_tower:
        raise wrong(
            "task.classifier",
            f"texts, and the backbone {_without_text_tower(experiment)}",
            allowed=f"{linear}a backbone of kind open-clip, or kind: vit with text: {{kind: transformer}}",
            fix="set task.classifier to {kind: linear}" if linear else "name such a backbone",
        )
    method = experiment.method
    projects = isinstance(experiment.task, RecognitionSpec) and experiment.task.projects_to_texts
    if projects and not method.projects_to_texts:
        raise wrong(
            "task.classifier.projection",
            f"tower, and the features of the method {method.kind} are not the tower's",
            allowed="none; tower for the methods side4video, full, st-adapter and aim",
            fix="set it to none, or take one of these methods",
        )
    width, texts = method.output_dim(experiment.tower), experiment.tower.output_dim
    if width != texts and not projects:
        own = "set task.classifier.projection to tower" if method.projects_to_texts else ""
        raise wrong(
            "task.classifier",
            f"texts have {texts} features here, and the method {experiment.method.kind} gives {width}",
            allowed="{kind: linear}, or a method whose features are in the texts' space (dist, text4vis, zero-shot)",
            fix=own or "set task.classifier to {kind: linear}",
        )


def _without_text_tower(experiment: "Experiment") -> str:
    backbone = experiment.backbone
    if backbone.without_texts:
        return f"{backbone.library_model} has no text tower that can be used ({backbone.without_texts})"
    return f"{backbone.kind} has no text tower"
