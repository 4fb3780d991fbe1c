"""One hash for what a data set holds, so that two results say whether they saw the same clips."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from side4video.data.clip import Clip
from side4video.data.frame_folder import count_frames


def fingerprint_clips(classes: Sequence[str], splits: Mapping[str, Sequence[Clip]], root: Path) -> str:
    """SHA-256 (hexadecimal) over classes and clips in order.

    Counts: paths relative to `root`, labels, captions, spans, direction, split, and file sizes where the file is
    there; of a folder of frames, how many it holds. Does not count: where `root` is, groups, and the lines that list
    the clips.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for split, clips in splits.items():
        for clip in clips:
            relative = Path(os.path.relpath(clip.path, root)).as_posix()
            entry = (split, relative, clip.label, clip.captions, clip.start_seconds, clip.end_seconds, clip.reversed)
            digest.update(json.dumps([*entry, _size(clip)]).encode())
    return digest.hexdigest()


def _size(clip: Clip) -> int | None:
    if clip.frame_pattern:
        return count_frames(clip.path, clip.frame_pattern) or None
    try:
        return os.stat(clip.path).st_size  # noqa: PTH116 - hundreds of thousands of files: no Path object for each
    except OSError:
        return None
