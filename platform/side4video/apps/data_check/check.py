"""The walk: every listed file is looked at, those that may stand on both sides are hashed, a sample is decoded.

Files are the same only if their sizes are, so a file whose size no file of another split has is not hashed: of a
hundred Kinetics videos about one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from side4video.apps.data_check.listing import ClipKey, Listing, clip_key
from side4video.apps.data_check.probe import (
    ClipFacts,
    FileVersion,
    Target,
    file_version,
    hash_file,
    make_thumbnail,
    probe_clip,
    without_augmentation,
)
from side4video.apps.data_check.saved import SavedResults
from side4video.core.progress import Progress
from side4video.core.seeds import derive_seed
from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.clip import Clip
from side4video.data.spec import DataSpec
from side4video.data.storage import common_root, relative_path


@dataclass(frozen=True)
class Work:
    """What was done, and what was known from before."""

    files_hashed: int
    files_known: int
    clips_decoded: int
    clips_known: int


@dataclass(frozen=True)
class CheckResult:
    """What the walk found."""

    listing: Listing
    versions: Mapping[str, FileVersion | None]
    """Of each path; None where there is nothing."""
    digests: Mapping[str, str]
    """Of the paths whose size stands in two splits; empty where the bytes cannot be read."""
    sample: Sequence[Clip]
    """The clips that were decoded, one for each piece."""
    facts: Mapping[ClipKey, ClipFacts]
    work: Work


def check_dataset(
    data: DataSpec, listing: Listing, *, sample: int | None, pool: WorkerPool, saved: SavedResults, progress: Progress
) -> CheckResult:
    """Look at all that is listed.

    At most `sample` clips are decoded, all if it is None. New results are added to `saved`.

    Raises:
        InputError: The decoder that the document names is not installed.
    """
    by_path = {clip.path: clip for _, clip in listing.clips()}
    saved.remove_others(by_path.keys())
    versions: dict[str, FileVersion | None] = {}
    for clip, version in _with_progress(pool, file_version, list(by_path.values()), progress, phase="looking at files"):
        versions[clip.path] = None if isinstance(version, JobFailed) else version
    digests, hashed = _hash(
        _comparable(listing, versions, by_path), versions, pool=pool, saved=saved, progress=progress
    )
    drawn = draw_sample(listing, versions, sample)
    facts, decoded = _decode(drawn, versions, data, pool=pool, saved=saved, progress=progress)
    work = Work(hashed, len(digests) - hashed, decoded, len(facts) - decoded)
    return CheckResult(listing, versions, digests, drawn, facts, work)


def draw_sample(listing: Listing, versions: Mapping[str, FileVersion | None], size: int | None) -> list[Clip]:
    """Clips to decode, one for each piece, of all splits, shuffled: the same whoever asks, wherever the files are."""
    keys = {clip_key(clip): clip for _, clip in listing.clips() if (version := versions[clip.path]) and version.bytes}
    root = common_root([clip.path for _, clip in listing.clips()])

    def rank(clip: Clip) -> int:
        return derive_seed("check", relative_path(clip.path, root), str(clip.start_seconds), str(clip.end_seconds))

    return sorted(keys.values(), key=rank)[:size]


def make_thumbnails(
    clips: Sequence[Clip], data: DataSpec, *, pool: WorkerPool, progress: Progress
) -> dict[ClipKey, bytes]:
    """A JPEG of each clip that can be decoded."""
    stored, thumbnails = without_augmentation(data), {}
    targets = [Target(clip, stored) for clip in clips]
    for target, thumbnail in _with_progress(
        pool, make_thumbnail, targets, progress, phase="drawing clips", limit_seconds=data.loader.timeout_seconds
    ):
        if thumbnail and not isinstance(thumbnail, JobFailed):
            thumbnails[clip_key(target.clip)] = thumbnail
    return thumbnails


def _comparable(
    listing: Listing, versions: Mapping[str, FileVersion | None], by_path: Mapping[str, Clip]
) -> list[Clip]:
    """Files whose size stands in two splits, each once."""
    counts: Counter[int] = Counter()
    for clips in listing.splits.values():
        counts.update({version.bytes for clip in clips if (version := versions[clip.path]) and version.bytes})
    return [clip for path, clip in by_path.items() if (version := versions[path]) and counts[version.bytes] > 1]


def _hash(
    clips: Sequence[Clip],
    versions: Mapping[str, FileVersion | None],
    *,
    pool: WorkerPool,
    saved: SavedResults,
    progress: Progress,
) -> tuple[dict[str, str], int]:
    """The hashes by path, and how many of them are new."""
    digests: dict[str, str] = {}
    unknown = []
    for clip in clips:
        version = versions[clip.path]
        digest = saved.digest(clip.path, version) if version else None
        if digest is None:
            unknown.append(clip)
        else:
            digests[clip.path] = digest
    for clip, digest in _with_progress(pool, hash_file, unknown, progress, phase="hashing files"):
        digests[clip.path] = "" if isinstance(digest, JobFailed) else digest
        if (version := versions[clip.path]) and digests[clip.path]:
            saved.store_digest(clip.path, version, digests[clip.path])
    return digests, len(unknown)


def _decode(
    clips: Sequence[Clip],
    versions: Mapping[str, FileVersion | None],
    data: DataSpec,
    *,
    pool: WorkerPool,
    saved: SavedResults,
    progress: Progress,
) -> tuple[dict[ClipKey, ClipFacts], int]:
    """What decoding says of each piece, and how many were decoded now."""
    found: dict[ClipKey, ClipFacts] = {}
    unknown = []
    stored = without_augmentation(data)
    for clip in clips:
        version = versions[clip.path]
        facts = saved.facts(clip_key(clip), version) if version else None
        if facts is None:
            unknown.append(Target(clip, stored))
        else:
            found[clip_key(clip)] = facts
    for target, facts in _with_progress(
        pool, probe_clip, unknown, progress, phase="decoding clips", limit_seconds=data.loader.timeout_seconds
    ):
        key, version = clip_key(target.clip), versions[target.clip.path]
        if isinstance(facts, JobFailed):  # it may have been the machine's fault: tried again the next time
            found[key] = ClipFacts(broken=facts.reason)
            continue
        found[key] = facts
        if version:
            saved.store_facts(key, version, facts)
    return found, len(unknown)


def _with_progress(
    pool: WorkerPool,
    job: Callable[[Any], Any],
    items: Sequence[Any],
    progress: Progress,
    *,
    phase: str,
    limit_seconds: float = float("inf"),
) -> Iterable[tuple[Any, Any]]:
    """`pool.map_unordered`, with a report after each item."""
    progress.report(phase)
    for done, pair in enumerate(pool.map_unordered(job, items, limit_seconds=limit_seconds), 1):
        yield pair
        progress.report(phase, done, len(items))
