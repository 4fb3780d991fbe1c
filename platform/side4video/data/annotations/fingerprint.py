"""The fingerprint of a data set: two results with the same fingerprint used the same clips."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from side4video.data.clip import Clip
from side4video.data.decode.frame_names import count_frames
from side4video.data.storage import file_size, relative_path


def fingerprint_clips(
    classes: Sequence[str],
    splits: Mapping[str, Sequence[Clip]],
    root: str,
    *,
    heads: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """SHA-256 (hexadecimal) over classes and clips in order.

    Counts: paths relative to `root`, labels, captions, spans, direction, split, and file sizes where the file is
    there; of a folder of frames, how many it holds; names, classes and labels of heads. Does not count: where `root`
    is, groups, and the lines that list the clips.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    if heads:
        digest.update(json.dumps([[name, list(names)] for name, names in heads.items()]).encode())
    for split, clips in splits.items():
        for clip in clips:
            entry = (
                split,
                relative_path(clip.path, root),
                clip.label,
                clip.captions,
                clip.start_seconds,
                clip.end_seconds,
                clip.reversed,
            )
            # Only where there are some, so that data sets with single labels keep their fingerprint.
            more = [clip.labels, clip.head_labels] if clip.labels is not None or clip.head_labels else []
            digest.update(json.dumps([*entry, _size(clip), *more]).encode())
    return digest.hexdigest()


def short_fingerprint(fingerprint: str) -> str:
    """A fingerprint for messages: its first 12 characters, and the names of a selection or of sentences after it."""
    digest, divider, names = fingerprint.partition("+")
    return f"{digest[:12]}{divider}{names}"


def _size(clip: Clip) -> int | None:
    if clip.frame_pattern:
        return count_frames(clip.path, clip.frame_pattern) or None
    return file_size(clip.path)
