"""What a data set does about listed files that are missing."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.spec import Spec
from side4video.data.annotations.tables import shorten_list
from side4video.data.clip import Clip
from side4video.data.storage import is_file, is_folder, relative_path

log = logging.getLogger(__name__)


class RaiseSpec(Spec):
    """They are an error that names the first one and their number."""

    kind: Literal["raise"] = "raise"


class SkipSpec(Spec):
    """They are left out, with a warning that counts them."""

    kind: Literal["skip"] = "skip"


MissingFiles = Annotated[RaiseSpec | SkipSpec, Field(discriminator="kind")]


class KeepSpec(Spec):
    """They stay in the list. Documents cannot select this: it is for `data check`, which counts them."""

    kind: Literal["keep"] = "keep"


def drop_missing(clips: Sequence[Clip], policy: MissingFiles | KeepSpec, *, where: str, root: str) -> list[Clip]:
    """The clips whose file, or folder of frames, exists. The policy says what happens to others.

    `where` is what lists them, for the warning; `root` is the folder that they should be in.

    Raises:
        InputError: One is not there and may not be missing.
    """
    if isinstance(policy, KeepSpec):
        return list(clips)
    missing = [clip for clip in clips if not _exists(clip)]
    if missing and isinstance(policy, RaiseSpec):
        raise InputError(
            missing[0].origin,
            f"{len(missing)} of {len(clips)} videos are not in {root}: "
            + shorten_list([relative_path(clip.path, root) for clip in missing]),
            fix="check `root` and how the files are named, or leave them out with `missing_videos: {kind: skip}`",
        )
    if not missing:
        return list(clips)
    warn_once(f"{where}: left out {len(missing)} of {len(clips)} videos, which are not in {root}")
    absent = {id(clip) for clip in missing}
    return [clip for clip in clips if id(clip) not in absent]


def _exists(clip: Clip) -> bool:
    return is_folder(clip.path) if clip.frame_pattern else is_file(clip.path)


@lru_cache(maxsize=64)
def warn_once(message: str) -> None:
    """Log a warning once per process, although a run lists its clips several times."""
    log.warning("%s", message)
