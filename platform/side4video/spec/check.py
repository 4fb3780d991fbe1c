"""Checks that need more than one document, or files of this machine: annotations and weights."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.data.clip import Clip
from side4video.spec.check_labels import check_flips, check_labels, task_advice
from side4video.spec.experiment import Experiment
from side4video.tasks.recognition.spec import TEXT_CLASSIFIERS

Name = TypeVar("Name", bound=Hashable)


def check_pack(experiments: Mapping[str, Experiment]) -> None:
    """Check that experiments can train on one stream of clips: none changes the tower, and those that share one agree.

    `experiments` are by student name; one alone may have any method.

    Raises:
        InputError: If there are several, and one changes the tower, or two of one tower want it to see different
            frames.
    """
    for name, spec in experiments.items():
        if len(experiments) > 1 and not spec.method.packable:
            raise InputError(
                f"{name}: method.kind",
                f"{spec.method.kind} changes the tower, and {len(experiments)} students are to share one",
                allowed="in a pack: methods that only read frozen tokens (`side4video list methods`)",
                fix="run it alone",
            )
    for members in by_backbone(experiments).values():
        strides = {name: experiments[name].reads.every for name in members}
        first, *others = strides
        for name in others:
            if strides[name] != strides[first]:
                raise InputError(
                    f"{name}: method",
                    f"its tower sees one frame of {strides[name]}, and that of {first} one of {strides[first]}",
                    allowed="in a pack: methods whose tower sees the same frames",
                    fix="run them one by one",
                )


def by_backbone(experiments: Mapping[Name, Experiment]) -> dict[str, list[Name]]:
    """The names of the experiments that share a backbone, by the backbone's key."""
    found: dict[str, list[Name]] = {}
    for name, spec in experiments.items():
        found.setdefault(spec.backbone_key, []).append(name)
    return found


def check_consistency(experiments: Mapping[str, Experiment], sections: Collection[str] = ()) -> None:
    """Check that experiments agree on everything that the batches depend on. They may have different backbones.

    Args:
        experiments: By student name.
        sections: Of `Experiment.shared`, those that count; all, if none are named.

    Raises:
        InputError: If two differ, naming the section; or if they cannot share a pass at all (`check_pack`).
    """
    check_pack(experiments)
    (first, base), *others = experiments.items()
    for name, spec in others:
        ours, theirs = base.shared(), spec.shared()
        counted = sections or dict.fromkeys((*ours, *theirs))
        section = next((key for key in counted if ours.get(key) != theirs.get(key)), "")
        if section:
            raise InputError(
                f"{name}: {section}",
                f"differs from that of {first}, and they are to share one pass over the clips",
                fix="run them apart, or make the section the same",
            )


def check_files(spec: Experiment) -> None:
    """Read the annotations and check that the weights exist. Nothing is decoded, downloaded or rendered.

    Raises:
        InputError: If something is missing or does not fit.
    """
    spec.backbone.check()
    if spec.features.kind == "cached":
        expand(spec.features.folder, "features.folder")
    if spec.start is not None:
        spec.start.read(spec)
    dataset = spec.data.listed
    dataset.check()
    check_early_stopping(spec)
    check_flips(spec)
    if spec.task.kind == "retrieval":
        _check_captions(spec)
        return
    check_labels(spec)
    has_texts = spec.task.kind == "recognition" and spec.task.classifier.kind in TEXT_CLASSIFIERS
    if has_texts and all(name.isdecimal() for name in dataset.classes()):
        raise InputError(
            "task.classifier",
            "texts, and the classes have numbers for names, of which a text tower makes nothing",
            allowed="{kind: linear}, or a data set whose classes have names",
            fix="give the names in data.dataset.class_names",
        )


def check_early_stopping(spec: Experiment) -> None:
    """Check that a run that may stop early has clips to decide by.

    Raises:
        InputError: The data set has no validation split.
    """
    if spec.evaluation.early_stopping is not None and "val" not in spec.data.listed.splits():
        raise InputError(
            "evaluation.early_stopping",
            f"the data set {spec.data.dataset.kind} has no validation split, and the test clips must not decide",
            allowed="a data set with a validation split: `val` in a list's split column, a folder `val`, or "
            "data.dataset.split_by: {kind: random, val_fraction: 0.1}",
            fix="add one, or remove early_stopping",
        )


def check_sentences(spec: Experiment, clips: Mapping[str, Sequence[Clip]]) -> None:
    """Check that there are sentences about the clips of each split, where the method or training reads them.

    Raises:
        InputError: The file cannot be read, or lacks a video.
    """
    described = spec.data.descriptions
    if described is None or spec.task.kind != "retrieval":
        return
    read = [
        clip
        for split, some in clips.items()
        if spec.method.descriptions or (split == "train" and described.as_captions)
        for clip in some
    ]
    described.check(read)


def _check_language(spec: Experiment) -> None:
    """Check that Chinese captions are read by a tokenizer of another kind than CLIP's, which was made of English."""
    language = getattr(spec.data.dataset, "language", "english")
    if language != "english" and not spec.backbone.reads_other_languages:
        raise InputError(
            "data.dataset.language",
            f"{language}, and the tokenizer of the backbone was made of English text",
            allowed="english; with a model such as ViT-B-16-SigLIP2 or ViT-H-14-worldwide, also chinese",
            fix="choose such a backbone: {kind: open-clip, model: ViT-B-16-SigLIP2, ...}",
        )


def _check_captions(spec: Experiment) -> None:
    """Check that all clips have a caption, and sentences where the method reads them.

    The built-in set always has captions, and is not rendered for this.
    """
    dataset = spec.data.dataset
    if spec.data.descriptions is not None:
        spec.data.descriptions.sentences()
    if dataset.kind == "motion" and not dataset.is_made():
        return
    _check_language(spec)
    check_sentences(spec, {split: spec.data.listed.clips(split) for split in spec.data.listed.splits()})
    for split in spec.data.listed.splits():
        clips = spec.data.listed.clips(split)
        without = [clip for clip in clips if not clip.captions]
        if without:
            raise InputError(
                without[0].origin or "data.dataset",
                f"{len(without)} of {len(clips)} {split} clips have no caption, and the task is retrieval",
                allowed="a data set with captions: captions, msr-vtt, msvd, vatex, didemo, lsmdc, "
                "activitynet-captions, motion",
                fix=f"choose another data set{task_advice(without[0])}",
            )
