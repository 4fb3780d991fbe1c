"""Checks that the clips of a data set have the labels that the task learns."""

from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.data.datasets.motion import MotionSpec

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment

_NEEDED = {
    "multi-label": ("all their classes", "a list with columns.labels, or charades"),
    "multi-head": ("a class of each head", "a list with label_columns, or epic-kitchens"),
}


def check_labels(spec: "Experiment") -> None:
    """Refuse a data set whose clips lack the labels of the task.

    A clip without a label in a data set of single labels is allowed in recognition: it has no loss.

    Raises:
        InputError: They lack them; a clip is named.
    """
    kind, dataset = spec.task.kind, spec.data.listed
    if kind == "recognition":
        if isinstance(spec.data.dataset, MotionSpec):
            return
        for clip in spec.data.dataset.clips("train"):  # a selection of these needs the one label too
            if clip.label is None and (clip.labels is not None or clip.head_labels):
                raise InputError(
                    clip.origin or "data.dataset",
                    "its clips have no one label, and the task is recognition",
                    allowed="a data set with one class a clip (the column `label`)",
                    fix=f"task: {{kind: {'multi-head' if clip.head_labels else 'multi-label'}}}, or add the column",
                )
        return
    if kind not in _NEEDED:
        return
    splits = () if isinstance(spec.data.dataset, MotionSpec) else dataset.splits()
    has_heads = bool(dataset.heads())
    clips = [clip for split in splits for clip in dataset.clips(split)]
    lacking = [clip for clip in clips if (clip.labels is None if kind == "multi-label" else not has_heads)]
    for split in splits if kind == "multi-label" and not lacking else ():
        if not any(clip.labels for clip in dataset.clips(split)):
            raise InputError(
                "data.dataset",
                f"no {split} clip has a label, and the task is {kind}",
                allowed="some clips with labels in each split",
                fix="fill in the column of labels",
            )
    if lacking or not clips:
        needed, allowed = _NEEDED[kind]
        raise InputError(
            lacking[0].origin or "data.dataset" if lacking else "data.dataset",
            f"clips do not say {needed}, and the task is {kind}",
            allowed=allowed,
            fix="choose another data set, or task: {kind: recognition}",
        )
