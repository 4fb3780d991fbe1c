"""Looks at decoder, batch size and videos before a run: what is wrong would end it at the first batch that needs it.

Files are only looked at, for two seconds at most. `side4video data check --all` decodes all of them.
"""

import os
import time
from importlib.util import find_spec

from side4video.core.errors import InputError
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import SPLITS, Clip
from side4video.data.storage import byte_range, is_remote
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
    dataset = spec.data.dataset
    if dataset.kind == "motion":
        _check_batch(spec, dataset.train_clips if spec.data.train_fraction == 1 else None)
        return ""
    clips = {split: dataset.clips(split) for split in SPLITS}
    _check_batch(spec, len(training_subset(clips["train"], spec.data.train_fraction, spec.data.seed)))
    listed = {clip.path: clip for some in clips.values() for clip in some}
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


def _check_batch(spec: Experiment, training_clips: int | None) -> None:
    batch = spec.optimization.batch_size
    if training_clips is not None and batch > training_clips:
        raise InputError(
            "optimization.batch_size",
            f"{batch}, and the training set has {training_clips} videos",
            allowed=f"at most {training_clips}",
            fix="set a smaller batch size, or list more videos",
        )
