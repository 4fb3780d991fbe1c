"""What is wrong with a data set, one entry a file or clip."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from side4video.apps.data_check.check import CheckResult
from side4video.apps.data_check.listing import clip_key
from side4video.data.clip import Clip, Split

KINDS = {
    "missing": "listed, and there is no such file",
    "broken": "cannot be decoded",
    "too_short": "fewer frames than data.frames, so some are repeated",
    "duplicated": "clips whose bytes are also those of a clip for another purpose",
    "without_caption": "no caption, where every video should have one",
    "refused": "what would end a run",
}
"""All kinds of problems, and what each is."""

_PURPOSES = {"train": "for training", "val": "for validation", "test": "for test"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong."""

    kind: str
    """A key of `KINDS`."""
    split: Split
    path: str
    """The file or folder; empty where it is the whole list."""
    origin: str
    """What lists it."""
    reason: str


def find_problems(checked: CheckResult, frames: int) -> list[Problem]:
    """All that is wrong, kind by kind, in the order of the lists.

    `frames` is the number of frames that a run reads of a clip.
    """
    missing = _per_clip(checked, "missing", lambda clip: clip.path, lambda clip: _missing(checked, clip))
    broken = _per_clip(checked, "broken", clip_key, lambda clip: _broken(checked, clip))
    short = _per_clip(checked, "too_short", clip_key, lambda clip: _too_short(checked, clip, frames))
    bare = _per_clip(checked, "without_caption", clip_key, _without_caption)
    errors = [Problem("refused", split, "", "", reason) for split, reason in checked.listing.errors.items()]
    return [*missing, *broken, *short, *_duplicated(checked), *bare, *errors]


def _per_clip(
    checked: CheckResult, kind: str, key: Callable[[Clip], Hashable], judge: Callable[[Clip], str]
) -> Iterator[Problem]:
    """A problem for each clip that the judge has something to say of; clips with one key in a split are one."""
    seen: set[tuple[Split, Hashable]] = set()
    for split, clip in checked.listing.clips():
        reason = judge(clip)
        if reason and (split, key(clip)) not in seen:
            seen.add((split, key(clip)))
            yield Problem(kind, split, clip.path, clip.origin, reason)


def _missing(checked: CheckResult, clip: Clip) -> str:
    kind = "folder" if clip.frame_pattern else "file"
    return "" if checked.versions[clip.path] else f"there is no such {kind}"


def _broken(checked: CheckResult, clip: Clip) -> str:
    version, facts = checked.versions[clip.path], checked.facts.get(clip_key(clip))
    if version is None:
        return ""
    if not version.bytes:
        return "the folder holds nothing" if clip.frame_pattern else "the file is empty"
    if facts and facts.broken:
        return facts.broken
    return "its bytes cannot be read" if checked.digests.get(clip.path) == "" else ""


def _too_short(checked: CheckResult, clip: Clip, frames: int) -> str:
    facts = checked.facts.get(clip_key(clip))
    if facts is None or facts.broken or facts.frames >= frames:
        return ""
    return f"{facts.frames} frames, and data.frames is {frames}"


def _without_caption(clip: Clip) -> str:
    return "" if clip.is_labelled or any(clip.captions) else "no caption"


def _duplicated(checked: CheckResult) -> Iterator[Problem]:
    """Clips of which a clip of an earlier split shows the same bytes, at times that overlap."""
    earlier: dict[str, dict[Hashable, tuple[Split, Clip]]] = {}
    for split, clips in checked.listing.splits.items():
        seen = set()
        for clip in clips:
            twins = earlier.get(checked.digests.get(clip.path, ""), {}).values()
            other, twin = next(((other, each) for other, each in twins if _overlap(clip, each)), (split, None))
            if twin and clip_key(clip) not in seen:
                seen.add(clip_key(clip))
                of = "itself" if twin.path == clip.path else twin.path
                where = f" ({twin.origin})" if twin.origin else ""
                reason = f"the same bytes {_PURPOSES[other]}: {of}{where}"
                yield Problem("duplicated", split, clip.path, clip.origin, reason)
        for clip in clips:
            if digest := checked.digests.get(clip.path):
                earlier.setdefault(digest, {}).setdefault(clip_key(clip), (split, clip))


def _overlap(clip: Clip, other: Clip) -> bool:
    ends = (clip.end_seconds, other.end_seconds)
    end = min(each for each in (*ends, float("inf")) if each is not None)
    return max(clip.start_seconds or 0.0, other.start_seconds or 0.0) < end
