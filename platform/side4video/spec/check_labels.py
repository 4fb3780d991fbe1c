"""Checks that the clips of a data set have the labels that the task learns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from side4video.core.counts import counted
from side4video.core.errors import InputError
from side4video.data.clip import Clip, Split
from side4video.data.datasets.motion import MotionSpec
from side4video.data.selection import SelectedClips

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment

_ONE_LABEL = "a data set with one class a clip (the column `label`)"
_NEEDED = {
    "multi-label": ("all their classes", "a list with columns.labels, or charades"),
    "multi-head": ("a class of each head", "a list with label_columns, or epic-kitchens"),
}


def check_flips(spec: "Experiment") -> None:
    """Refuse to flip training clips whose flipped labels are not known.

    Raises:
        InputError: A class knows left from right, and its mirror image is not known, or is in the other half.
    """
    flips, dataset = spec.data.augmentation.flip_probability, spec.data.listed
    if not flips:
        return
    where, fix = "data.augmentation.flip_probability", "data.augmentation.flip_probability: 0"
    if dataset.flipped_classes() is None:
        if isinstance(dataset, SelectedClips) and spec.data.dataset.flipped_classes() is not None:
            raise InputError(
                where,
                f"{flips:g}, and data.classes is {spec.data.classes}: the mirror images of some classes are in the "
                "other half",
                allowed="0, or data.classes: all",
                fix=fix,
            )
        raise InputError(
            where,
            f"{flips:g}, but the labels know left from right and no mirrored labels are given",
            allowed="0, or a data set that says which label a mirrored clip has",
            fix="set it to 0, or describe the mirrored labels in data.dataset",
        )
    if spec.task.kind == "multi-head" and dataset.flipped_heads() is None:
        raise InputError(
            where,
            f"{flips:g}, but classes of a head know left from right, and no mirrored classes are given",
            allowed="0, or a data set that says which class a mirrored clip has",
            fix="set it to 0, or describe the mirrored classes in data.dataset",
        )


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
                    allowed=_ONE_LABEL,
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
            fix=_labels_fix(spec, lacking),
        )


def _labels_fix(spec: "Experiment", clips: Sequence[Clip]) -> str:
    """The column that may be meant, or the task that the labels of clips are for."""
    column = getattr(getattr(spec.data.dataset, "columns", None), "label", "")
    if spec.task.kind == "multi-label" and column not in ("", "label"):
        return f"data.dataset.columns: {{labels: {column}}}, not label"
    return f"choose another data set{task_advice(clips[0]) if clips else ', or task: {kind: recognition}'}"


def task_advice(clip: Clip) -> str:
    """The task that a clip's labels are for, as the end of a sentence; nothing if it has none."""
    tasks = {
        "multi-head": bool(clip.head_labels),
        "multi-label": clip.labels is not None,
        "recognition": clip.label is not None,
        "retrieval": bool(clip.captions),
    }
    fitting = next((task for task, is_fitting in tasks.items() if is_fitting), "")
    return f", or task: {{kind: {fitting}}}" if fitting else ""


def check_evaluated_labels(spec: "Experiment", split: Split) -> None:
    """Refuse to evaluate on clips that lack the labels or captions that the task compares with, before models load.

    Raises:
        InputError: They lack them, or there are fewer than two classes; a clip is named.
    """
    kind, dataset = spec.task.kind, spec.data.listed
    if split not in dataset.splits():
        return  # which is said where the split is looked for
    # The built-in set has one class and a caption a clip, and is not rendered for this.
    is_built_in = isinstance(spec.data.dataset, MotionSpec)
    clips = [] if is_built_in else dataset.clips(split)
    if kind == "recognition":
        _check_one_label(clips)
        _check_class_count(len(dataset.classes()))
        return
    if kind == "retrieval" and is_built_in:
        return
    lacking = {
        "multi-label": [clip for clip in clips if clip.labels is None],
        "multi-head": [clip for clip in clips if not clip.head_labels],
        "retrieval": [clip for clip in clips if not clip.captions],
    }.get(kind, [])
    needed, allowed = _NEEDED.get(kind, ("a caption", "a data set with captions"))
    where = lacking[0].origin or "data.dataset" if lacking else "data.dataset"
    if lacking or is_built_in:
        found = f"its clips do not say {needed}, and the task of the model is {kind}"
        raise InputError(where, found, allowed=allowed, fix="evaluate on another data set")
    if kind == "multi-label" and not any(clip.labels for clip in clips):
        found = f"no {split} clip has a label, and the task of the model is {kind}"
        raise InputError(where, found, allowed="some clips with labels", fix="fill in the column of labels")


def _check_one_label(clips: Sequence[Clip]) -> None:
    """Refuse clips of several labels, and clips that all have no label."""
    lacking = [clip for clip in clips if clip.label is None]
    others = [clip for clip in lacking if clip.labels is not None or clip.head_labels]
    if others or (lacking and len(lacking) == len(clips)):
        raise InputError(
            (others or lacking)[0].origin or "data.dataset",
            "its clips have no one label, and the task of the model is recognition",
            allowed=_ONE_LABEL,
            fix="evaluate on another data set",
        )


def _check_class_count(count: int) -> None:
    if count < 2:
        raise InputError(
            "data.dataset",
            f"{counted(count, 'class', 'classes')}, of which every model names the right one",
            allowed="at least 2 classes",
            fix="evaluate on more classes",
        )
