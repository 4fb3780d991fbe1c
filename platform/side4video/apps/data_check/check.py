"""The walk: every listed file is looked at, those that may stand on both sides are hashed, a sample is decoded.

Files are the same only if their sizes are, so a file whose size no file of the other split has is not hashed: of a
hundred Kinetics videos about one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from side4video.apps.data_check.listing import Listing, Piece, piece_of
from side4video.apps.data_check.probe import (
    ClipFacts,
    Stamp,
    Target,
    as_stored,
    hash_file,
    picture_clip,
    probe_clip,
    stamp_file,
)
from side4video.apps.data_check.saved import SavedResults
from side4video.core.progress import Progress
from side4video.core.seeds import derive_seed
from side4video.core.worker_pool import JobFailed, WorkerPool
from side4video.data.clip import SPLITS, Clip
from side4video.data.spec import DataSpec
from side4video.data.storage import common_root, relative


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
    stamps: Mapping[str, Stamp | None]
    """Of each path; None where there is nothing."""
    digests: Mapping[str, str]
    """Of the paths whose size stands in both splits; empty where the bytes cannot be read."""
    sample: Sequence[Clip]
    """The clips that were decoded, one for each piece."""
    facts: Mapping[Piece, ClipFacts]
    work: Work


def check_dataset(
    data: DataSpec, listing: Listing, *, sample: int | None, pool: WorkerPool, kept: SavedResults, progress: Progress
) -> CheckResult:
    """Look at all that is listed.

    Args:
        data: Says how clips are decoded.
        listing: What is listed.
        sample: How many clips are decoded, at most; None is all.
        pool: Does the work.
        kept: What is known from before; what is found is added.
        progress: Receives the progress.

    Raises:
        InputError: The decoder that the document names is not installed.
    """
    by_path = {clip.path: clip for _, clip in listing.clips()}
    kept.forget_others(by_path.keys())
    stamps: dict[str, Stamp | None] = {}
    for clip, stamp in _with_progress(pool, stamp_file, list(by_path.values()), progress, phase="looking at files"):
        stamps[clip.path] = None if isinstance(stamp, JobFailed) else stamp
    digests, hashed = _hash(_comparable(listing, stamps, by_path), stamps, pool=pool, kept=kept, progress=progress)
    drawn = draw_sample(listing, stamps, sample)
    facts, decoded = _decode(drawn, stamps, data, pool=pool, kept=kept, progress=progress)
    work = Work(hashed, len(digests) - hashed, decoded, len(facts) - decoded)
    return CheckResult(listing, stamps, digests, drawn, facts, work)


def draw_sample(listing: Listing, stamps: Mapping[str, Stamp | None], size: int | None) -> list[Clip]:
    """Clips to decode, one for each piece, of all splits, shuffled: the same whoever asks, wherever the files are."""
    pieces = {piece_of(clip): clip for _, clip in listing.clips() if (stamp := stamps[clip.path]) and stamp.bytes}
    root = common_root([clip.path for _, clip in listing.clips()])

    def rank(clip: Clip) -> int:
        return derive_seed("check", relative(clip.path, root), str(clip.start_seconds), str(clip.end_seconds))

    return sorted(pieces.values(), key=rank)[:size]


def draw_pictures(clips: Sequence[Clip], data: DataSpec, *, pool: WorkerPool, progress: Progress) -> dict[Piece, bytes]:
    """A JPEG of each clip that can be decoded."""
    stored, pictures = as_stored(data), {}
    targets = [Target(clip, stored) for clip in clips]
    for target, picture in _with_progress(
        pool, picture_clip, targets, progress, phase="drawing clips", limit_seconds=data.loader.timeout_seconds
    ):
        if picture and not isinstance(picture, JobFailed):
            pictures[piece_of(target.clip)] = picture
    return pictures


def _comparable(listing: Listing, stamps: Mapping[str, Stamp | None], by_path: Mapping[str, Clip]) -> list[Clip]:
    """Files whose size stands in both splits, each once."""
    sizes = {
        split: {stamp.bytes for clip in listing.splits[split] if (stamp := stamps[clip.path]) and stamp.bytes}
        for split in SPLITS
    }
    both = set.intersection(*sizes.values())
    return [clip for path, clip in by_path.items() if (stamp := stamps[path]) and stamp.bytes in both]


def _hash(
    clips: Sequence[Clip],
    stamps: Mapping[str, Stamp | None],
    *,
    pool: WorkerPool,
    kept: SavedResults,
    progress: Progress,
) -> tuple[dict[str, str], int]:
    """The hashes by path, and how many of them are new."""
    digests: dict[str, str] = {}
    unknown = []
    for clip in clips:
        stamp = stamps[clip.path]
        digest = kept.digest(clip.path, stamp) if stamp else None
        if digest is None:
            unknown.append(clip)
        else:
            digests[clip.path] = digest
    for clip, digest in _with_progress(pool, hash_file, unknown, progress, phase="hashing files"):
        digests[clip.path] = "" if isinstance(digest, JobFailed) else digest
        if (stamp := stamps[clip.path]) and digests[clip.path]:
            kept.keep_digest(clip.path, stamp, digests[clip.path])
    return digests, len(unknown)


def _decode(
    clips: Sequence[Clip],
    stamps: Mapping[str, Stamp | None],
    data: DataSpec,
    *,
    pool: WorkerPool,
    kept: SavedResults,
    progress: Progress,
) -> tuple[dict[Piece, ClipFacts], int]:
    """What decoding says of each piece, and how many were decoded now."""
    found: dict[Piece, ClipFacts] = {}
    unknown = []
    stored = as_stored(data)
    for clip in clips:
        stamp = stamps[clip.path]
        facts = kept.facts(piece_of(clip), stamp) if stamp else None
        if facts is None:
            unknown.append(Target(clip, stored))
        else:
            found[piece_of(clip)] = facts
    for target, facts in _with_progress(
        pool, probe_clip, unknown, progress, phase="decoding clips", limit_seconds=data.loader.timeout_seconds
    ):
        piece, stamp = piece_of(target.clip), stamps[target.clip.path]
        if isinstance(facts, JobFailed):  # it may have been the machine's fault: tried again the next time
            found[piece] = ClipFacts(broken=facts.reason)
            continue
        found[piece] = facts
        if stamp:
            kept.keep_facts(piece, stamp, facts)
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
