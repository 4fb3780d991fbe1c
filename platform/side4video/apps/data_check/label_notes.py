"""Slips in a list of clips: labels that mean the same, a clip that is listed twice, times in milliseconds."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from side4video.apps.data_check.check import CheckResult
from side4video.apps.data_check.listing import Listing, clip_key
from side4video.data.annotations.class_names import MISSING_VALUES
from side4video.data.annotations.tables import shorten_list

_NUMBER = r"[+-]?\d+(\.\d*)?"
LATE = 5
"""A span that is so many times longer than what its video has of it is no span in seconds."""


def label_notes(checked: CheckResult) -> list[str]:
    """A sentence for each kind of slip."""
    listing = checked.listing
    return [
        *_same_meaning(listing.classes),
        *_names_among_numbers(listing.classes),
        *_two_labels(listing),
        *_listed_twice(listing),
        *_late_ends(checked),
    ]


def _same_meaning(classes: Sequence[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_meaning(name), []).append(name)
    groups = [" and ".join(map(_visible, names)) for names in alike.values() if len(names) > 1]
    if groups:
        yield f"classes that may be one: {shorten_list(groups)}; write a class the same in every line"
    if empty := [name for name in classes if _meaning(name) in MISSING_VALUES]:
        yield f"the class {shorten_list([_visible(name) for name in empty])} looks like a value that is missing"


def _names_among_numbers(classes: Sequence[str]) -> Iterator[str]:
    """Few names among many numbers: one of them makes all numbers names, which are sorted as texts."""
    names = [name for name in classes if not re.fullmatch(_NUMBER, _meaning(name))]
    if 0 < len(names) <= len(classes) // 2 and not all(_meaning(name) in MISSING_VALUES for name in names):
        yield f"most classes are numbers, and {shorten_list([_visible(name) for name in names])} is not"


def _meaning(name: str) -> str:
    """What two names have in common that a reader takes for one: case, spaces, forms of a character, zeros."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())
    if re.fullmatch(_NUMBER, text):
        return f"{float(text):g}"
    return text or name


def _visible(name: str) -> str:
    """The name in quotes; characters that cannot be seen, such as a no-break space, are written as their codes."""
    return (
        ascii(name) if any(not each.isprintable() or (each.isspace() and each != " ") for each in name) else repr(name)
    )


def _two_labels(listing: Listing) -> Iterator[str]:
    for split, clips in listing.splits.items():
        labels: dict[object, dict[int, str]] = {}
        for clip in clips:
            if clip.label is not None:
                labels.setdefault((*clip_key(clip), clip.reversed), {}).setdefault(clip.label, clip.origin or clip.path)
        several = [origins for origins in labels.values() if len(origins) > 1]
        if several:
            first = ", ".join(f"{listing.classes[label]} ({origin})" for label, origin in several[0].items())
            clips_are = "1 clip is" if len(several) == 1 else f"{len(several)} clips are"
            yield f"{clips_are} listed under several classes in {split}, the first: {first}"


def _listed_twice(listing: Listing) -> Iterator[str]:
    for split, clips in listing.splits.items():
        records: dict[object, list[str]] = {}
        for clip in clips:
            key = (*clip_key(clip), clip.reversed, clip.label)
            records.setdefault(key, []).append(clip.origin or clip.path)
        twice = [origins for origins in records.values() if len(origins) > 1]
        if twice:
            clips_are = "1 clip is" if len(twice) == 1 else f"{len(twice)} clips are"
            yield f"{clips_are} listed more than once in {split}, the first: {shorten_list(twice[0])}"


def _late_ends(checked: CheckResult) -> Iterator[str]:
    late: dict[str, float] = {}
    listed = 0
    clips = {clip_key(clip): clip for _, clip in checked.listing.clips()}
    for key, facts in checked.facts.items():
        clip = clips.get(key)
        if clip is None or clip.end_seconds is None or facts.broken or facts.seconds is None:
            continue
        listed += 1
        # Of a span that ends behind the file, the length is that of the part which the file has.
        if clip.end_seconds - (clip.start_seconds or 0.0) > LATE * max(facts.seconds, 0.1):
            late[clip.path] = clip.end_seconds
    if late:
        path, end = next(iter(late.items()))
        yield (
            f"{len(late)} of {listed} spans end long after their video, the first at {end:g} s of {path}: "
            "are they milliseconds or frames? `start` and `end` are seconds"
        )
