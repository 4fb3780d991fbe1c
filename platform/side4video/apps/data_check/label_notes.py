"""Slips in a list of clips: labels that mean the same, a clip under two labels, times in milliseconds."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from side4video.apps.data_check.check import CheckResult
from side4video.apps.data_check.listing import Listing, clip_key
from side4video.data.annotations.class_names import MISSING_VALUES
from side4video.data.annotations.tables import shorten_list

MILLISECONDS = 50
"""A span that ends so many times later than its video is no span in seconds."""


def label_notes(checked: CheckResult) -> list[str]:
    """A sentence for each kind of slip."""
    return [*_same_meaning(checked.listing.classes), *_two_labels(checked.listing), *_late_ends(checked)]


def _same_meaning(classes: Sequence[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_meaning(name), []).append(name)
    groups = [" and ".join(map(_visible, names)) for names in alike.values() if len(names) > 1]
    if groups:
        yield f"classes that may be one: {shorten_list(groups)}; write a class the same in every line"
    if empty := [name for name in classes if _meaning(name) in MISSING_VALUES]:
        yield f"the class {shorten_list([_visible(name) for name in empty])} looks like a value that is missing"


def _meaning(name: str) -> str:
    """What two names have in common that a reader takes for one: case, spaces, forms of a character, zeros."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
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


def _late_ends(checked: CheckResult) -> Iterator[str]:
    late: dict[str, float] = {}
    listed = 0
    ends: Mapping[object, float | None] = {clip_key(clip): clip.end_seconds for _, clip in checked.listing.clips()}
    for key, facts in checked.facts.items():
        end = ends.get(key)
        if end is None or facts.broken or facts.seconds is None:
            continue
        listed += 1
        # Of a span that ends behind the file, the length is the file's.
        if end > MILLISECONDS * max(facts.seconds, 0.1):
            late[key[0]] = end
    if late:
        path, end = next(iter(late.items()))
        yield (
            f"{len(late)} of {listed} spans end long after their video, the first at {end:g} s of {path}: "
            "are they milliseconds or frames? `start` and `end` are seconds"
        )
