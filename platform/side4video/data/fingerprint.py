"""One hash for what a data set holds, so that two results say whether they saw the same clips."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from side4video.data.clip import Clip


def fingerprint_clips(classes: Sequence[str], splits: Mapping[str, Sequence[Clip]], root: Path) -> str:
    """SHA-256 (hexadecimal) over classes and clips in order.

    Counts: paths relative to `root`, labels, captions, spans, direction, split, and file sizes where the file is
    there. Does not count: where `root` is, groups, and the lines that list the clips.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for split, clips in splits.items():
        for clip in clips:
            relative = Path(os.path.relpath(clip.path, root)).as_posix()
            entry = (split, relative, clip.label, clip.captions, clip.start_seconds, clip.end_seconds, clip.reversed)
            digest.update(json.dumps([*entry, _size(clip.path)]).encode())
    return digest.hexdigest()


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - hundreds of thousands of files: no Path object for each
    except OSError:
        return None
