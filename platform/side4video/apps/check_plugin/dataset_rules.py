"""What a data set of a plug-in must keep."""

import pickle
from collections.abc import Iterator, Sequence

import numpy as np

from side4video.apps.check_plugin.check import Rule, is_read_again
from side4video.data.clip import Clip
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.spec import DataSpec

_MAX_NAMED = 3


def dataset_rules(dataset: DatasetSpec) -> Iterator[Rule]:
    """The rules. Those that cost nothing hold wherever a data set is listed: `plugins.guards` raises what is wrong."""
    yield "its document can be written and read again", lambda: is_read_again(dataset)
    yield "it has a training and a test split", lambda: _has_splits(dataset)
    yield "its classes are texts, each once", lambda: _has_classes(dataset)
    yield "each split has clips", lambda: _has_clips(dataset)
    yield "labels are positions in the list of classes", lambda: _has_clips(dataset)
    yield "no clip is in two splits", lambda: _splits_are_apart(dataset)
    yield "the same clips come in the same order each time", lambda: _repeats(dataset)
    yield "clips can be sent to other processes", lambda: _is_sent(dataset)
    yield "a flipped clip has a label", lambda: _flips(dataset)
    yield "the first clip of each split can be decoded", lambda: _decodes(dataset)


def _has_splits(dataset: DatasetSpec) -> str:
    dataset.splits()
    return ""


def _has_classes(dataset: DatasetSpec) -> str:
    dataset.classes()
    return ""


def _has_clips(dataset: DatasetSpec) -> str:
    for split in dataset.splits():
        dataset.clips(split)
    return ""


def _splits_are_apart(dataset: DatasetSpec) -> str:
    places: dict[tuple[object, ...], str] = {}
    for split in dataset.splits():
        for clip in dataset.clips(split):
            key = (clip.path, clip.start_seconds, clip.end_seconds, clip.reversed)
            if places.setdefault(key, split) != split:
                return f"{clip.path} is in {places[key]} and in {split}"
    return ""


def _repeats(dataset: DatasetSpec) -> str:
    for split in dataset.splits():
        if list(dataset.clips(split)) != list(dataset.clips(split)):
            return f"clips({split!r}) differs when it is called again"
    return "" if dataset.fingerprint() == dataset.fingerprint() else "fingerprint() differs when it is called again"


def _is_sent(dataset: DatasetSpec) -> str:
    clips = list(dataset.clips("train"))[:_MAX_NAMED]
    return "" if pickle.loads(pickle.dumps(clips)) == clips else "they differ on the other side"  # noqa: S301 - own bytes


def _flips(dataset: DatasetSpec) -> str:
    dataset.flipped_classes()  # None: the classes have left or right in their names, and documents then may not flip
    return ""


def _decodes(dataset: DatasetSpec) -> str:
    data = DataSpec.model_construct(**DataSpec.model_validate({"dataset": {"kind": "motion"}}).__dict__)
    reader = ClipFrames(data.model_copy(update={"dataset": dataset}))
    for split in dataset.splits():
        clips: Sequence[Clip] = dataset.clips(split)
        frames_THWC = reader.read(clips[0], lambda total: np.array([0, total - 1]))
        if frames_THWC.shape[0] != 2 or frames_THWC.dtype != np.uint8:
            return f"{clips[0].path}: frames of the shape {frames_THWC.shape}"
    return ""
