"""Checks that backbone and data section give a method what it reads beside the frames."""

from typing import TYPE_CHECKING

from side4video.core.spec import wrong

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment


def check_reads(experiment: "Experiment") -> None:
    """Check cross-attention, neighbours of frames, sentences about videos, and that cached features hold all of it.

    Raises:
        PydanticCustomError: Backbone or data section lack something, or a cache would not hold it.
    """
    data, method, task = experiment.data, experiment.method, experiment.task
    _check_cross_attention(experiment)
    needed = experiment.reads.neighbours
    if needed and data.neighbours != needed:
        raise wrong(
            "data.neighbours",
            f"{data.neighbours}, and the method {method.kind} reads {needed} frames before and after each one",
            allowed=str(needed),
            fix=f"set data.neighbours to {needed}",
        )
    if task.method_output == "retrieval" and method.descriptions and data.descriptions is None:
        raise wrong(
            "data.descriptions",
            f"not given, and the method {method.kind} reads sentences about each video",
            allowed="{file: sentences.json}: from the name of a video file, without its ending, to a list of sentences",
            fix="set data.descriptions, or take another method",
        )
    _check_selection(experiment)
    if task.method_output != "retrieval" and data.descriptions is not None:
        raise wrong(
            "data.descriptions",
            f"given, and the task is {task.kind}, which reads no sentences",
            allowed="with the task retrieval",
            fix="leave it out",
        )
    if data.sampling.kind == "one-per-second" and task.method_output != "retrieval":
        raise wrong(
            "data.sampling",
            f"one-per-second, and the task is {task.kind}, whose methods do not mask frames that fill up a short clip",
            allowed="one-per-second for retrieval",
            fix="set data.sampling to {kind: segment}",
        )
    if experiment.features.kind != "cached":
        return
    for field, is_set in (
        ("data.neighbours", data.neighbours > 0),
        ("data.descriptions", data.descriptions is not None),
        ("data.sampling", data.sampling.kind == "one-per-second"),
    ):
        if is_set:
            raise wrong(
                "features.kind",
                f"cached, and {field} is set, which a cache of features does not keep",
                allowed="{kind: computed}",
                fix=f"set features to {{kind: computed}}, or leave {field} out",
            )


def _check_selection(experiment: "Experiment") -> None:
    """Halves of the classes and few shots are of clips with one class each."""
    data, kind = experiment.data, experiment.task.kind
    if kind not in ("multi-label", "multi-head"):
        return
    for field, is_set in (("classes", data.classes != "all"), ("shots", data.shots is not None)):
        if is_set:
            raise wrong(
                f"data.{field}",
                f"{getattr(data, field)}, and the task is {kind}, whose clips have more than one class",
                allowed="with the task recognition",
                fix="leave it out",
            )


def _check_cross_attention(experiment: "Experiment") -> None:
    backbone, method = experiment.backbone, experiment.method
    if method.needs_cross_attention == backbone.has_cross_attention:
        return
    raise wrong(
        "method.kind",
        f"{method.kind}, and the backbone is {backbone.kind}",
        allowed="blip for uniadapter-blip" if method.needs_cross_attention else "uniadapter-blip for this backbone",
        fix="set backbone.kind to blip" if method.needs_cross_attention else "take it, or another backbone",
    )
