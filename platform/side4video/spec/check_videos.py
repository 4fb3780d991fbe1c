"""Looks at decoder, batch size and videos before a run: what is wrong would end it at the first batch that needs it.

Files are only looked at, for two seconds at most. `side4video data check --all` decodes all of them.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

from side4video.core.errors import InputError
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip
from side4video.data.listing_once import listing_once
from side4video.data.spec import clip_counts
from side4video.data.storage import byte_range, is_remote
from side4video.spec.check import check_files
from side4video.spec.check_database_driver import check_store_driver
from side4video.spec.check_sinks import check_sinks
from side4video.spec.check_tags import check_tags
from side4video.spec.check_weights import describe_weights
from side4video.spec.describe_data import describe_data
from side4video.spec.experiment import Experiment

SECONDS = 2.0
"""Longest time to look at files."""
_BEFORE_A_LOOK_AT_THE_CLOCK = 256
_PACKAGES = {"decord": "decord", "torchcodec": "torchcodec"}


def check_decoder(spec: Experiment) -> None:
    """Check that the decoder that the document names is installed here. Nothing is imported.

    Raises:
        InputError: It is not.
    """
    package = _PACKAGES.get(spec.data.decoder)
    if package and find_spec(package) is None:
        raise InputError(
            "data.decoder",
            f"{package} is not installed here",
            allowed="auto, decord, pyav, torchcodec",
            fix=f"pip install {package}, or choose auto",
        )


class LookedAt(NamedTuple):
    """What a check looked at, for the user."""

    data: str
    """What the data look like; see `describe_data`."""
    files: str
    """Which files were looked at, and which were not."""

    def __str__(self) -> str:
        """Both in one line."""
        return "; ".join(filter(None, self))


def check_experiments(experiments: Iterable[tuple[str, Experiment]], seconds: float = SECONDS) -> str:
    """Check experiments as `look_at_experiments` does, and say in one line what was looked at, and what was not."""
    return str(look_at_experiments(experiments, seconds))


@listing_once()
def look_at_experiments(experiments: Iterable[tuple[str, Experiment]], seconds: float = SECONDS) -> LookedAt:
    """Check files, decoders, batch sizes and videos of experiments; what they have in common is looked at once.

    Each experiment comes with a name, such as `arm 2 layers`, which errors about a field begin with; it may be empty.

    Raises:
        InputError: As `check_files` and `check_videos` do.
    """
    checked: set[str] = set()

    def is_new(*parts: object) -> bool:
        text = json.dumps(parts, sort_keys=True)
        is_first = text not in checked
        checked.add(text)
        return is_first

    described: dict[str, None] = {}
    looked: dict[str, None] = {}
    for name, spec in experiments:
        document = spec.resolved()
        data = document["data"]
        check_tags(spec.tracking)
        check_sinks(spec.tracking)
        check_store_driver(spec.tracking)
        if is_new("files", document["backbone"], data, document["task"], spec.method.descriptions):
            check_files(spec)
        if spec.start is not None and is_new("start", document["start"], document["method"], document["backbone"]):
            with _named(name):
                spec.start.read(spec)
        if is_new("batch", data, spec.optimization.batch_size):
            with _named(name):
                check_decoder(spec)
                _check_batch(spec)
        if is_new("videos", data["dataset"], data["broken_clips"], data["size"], data["augmentation"]):
            described[describe_data(spec)] = None
            looked[_look_at_videos(spec, seconds)] = None
        looked[describe_weights(spec)] = None
    return LookedAt("; ".join(described), "; ".join(filter(None, looked)))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Begin errors inside with the name of an arm."""
    try:
        yield
    except InputError as error:
        where = f"{name}: {error.where}" if name else error.where
        raise InputError(where, error.found, allowed=error.allowed, fix=error.fix) from error


@listing_once()
def check_videos(spec: Experiment, seconds: float = SECONDS) -> str:
    """Check that the listed videos are there, and that there are enough for a batch.

    Args:
        spec: The experiment. Videos that it makes itself are not looked at, nor are remote ones or those in archives.
        seconds: Longest time to look.

    Returns:
        What was looked at, for the user; empty if there was nothing to look at.

    Raises:
        InputError: The decoder is not installed, a batch is larger than the training set, or a video is missing: the
            first one, and how many of those looked at.
    """
    check_decoder(spec)
    _check_batch(spec)
    return _look_at_videos(spec, seconds)


def _look_at_videos(spec: Experiment, seconds: float) -> str:
    dataset = spec.data.listed
    if dataset.kind == "motion":
        return ""
    listed = {clip.path: clip for split in dataset.splits() for clip in dataset.clips(split)}
    local = [clip for clip in listed.values() if not is_remote(clip.path) and not byte_range(clip.path)]
    if len(local) < len(listed):
        return f"{len(listed)} remote or packed videos were not looked at"
    looked, missing = _look(local, seconds)
    if missing and spec.data.broken_clips.kind == "raise":
        first = missing[0]
        what = "folder" if first.frame_pattern else "file"
        raise InputError(
            first.origin or first.path,
            f"there is no {what} {first.path}; {len(missing)} of {looked} videos that were looked at are missing",
            fix="check `root` and the list (`side4video data check` names all), or set broken_clips: {kind: skip}",
        )
    said = f"{looked} of {len(local)} videos were looked at, none was decoded"
    return said + (f"; {len(missing)} are missing and left out" if missing else "")


def _look(clips: list[Clip], seconds: float) -> tuple[int, list[Clip]]:
    """How many files were looked at, and those that are not there."""
    missing, end = [], time.monotonic() + seconds
    for number, clip in enumerate(clips):
        if number % _BEFORE_A_LOOK_AT_THE_CLOCK == 0 and number and time.monotonic() > end:
            return number, missing
        exists = os.path.isdir if clip.frame_pattern else os.path.isfile
        if not exists(clip.path):
            missing.append(clip)
    return len(clips), missing


def _check_batch(spec: Experiment) -> None:
    batch, data = spec.optimization.batch_size, spec.data
    if data.dataset.kind == "motion":
        # Its clips are made later; of a part of them, this is more than there are.
        training_clips = clip_counts(data)["train"]
    else:
        training_clips = len(training_subset(data.listed.clips("train"), data.train_fraction, data.seed))
    if batch > training_clips:
        raise InputError(
            "optimization.batch_size",
            f"{batch}, and the training set has {training_clips} videos",
            allowed=f"at most {training_clips}",
            fix="set a smaller batch size, or list more videos",
        )
