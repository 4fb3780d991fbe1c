"""What a user should know of the clips of a new experiment: slips of labels, and classes without a readable video."""

from collections.abc import Iterator
from pathlib import Path

from side4video.apps.init.division import DividedData
from side4video.apps.init.video_sample import VideoSample
from side4video.data.annotations.class_names import MISSING_VALUES
from side4video.data.annotations.tables import shorten_list
from side4video.data.clip import Clip


def label_notes(divided: DividedData) -> list[str]:
    """A sentence for each kind of slip in the labels; `side4video data check` finds more kinds."""
    return [*_doubtful_classes(divided), *_listed_again(divided)]


def _doubtful_classes(divided: DividedData) -> Iterator[str]:
    empty = [repr(name) for name in divided.classes if name.strip().casefold() in MISSING_VALUES]
    if empty:
        yield f"the class {shorten_list(empty)} looks like a value that is missing"


def _listed_again(divided: DividedData) -> Iterator[str]:
    if not divided.classes:  # a video has several captions
        return
    labels: dict[tuple[object, ...], list[int]] = {}
    for clip in divided.all_clips:
        if clip.label is not None:
            key = (clip.path, clip.start_seconds, clip.end_seconds, clip.reversed)
            labels.setdefault(key, []).append(clip.label)
    several = {str(key[0]): found for key, found in labels.items() if len(set(found)) > 1}
    if several:
        path, found = next(iter(several.items()))
        classes = " and ".join(divided.classes[label] for label in dict.fromkeys(found))
        yield f"{_clips_are(len(several))} listed under several classes, the first: {path} ({classes})"
    twice = [str(key[0]) for key, found in labels.items() if len(found) > len(set(found))]
    if twice:
        yield f"{_clips_are(len(twice))} listed more than once, the first: {twice[0]}"


def _clips_are(count: int) -> str:
    return "1 clip is" if count == 1 else f"{count} clips are"


def broken_notes(sample: VideoSample, divided: DividedData, place: Path) -> list[str]:
    """Which of the opened videos cannot be read, and which classes have none that can. `place` is the source."""
    if not sample.broken:
        return []
    names = shorten_list([_near(path, place) for path in sample.broken])
    notes = [f"{len(sample.broken)} of {len(sample.facts)} opened videos cannot be read: {names}"]
    opened: dict[int, list[bool]] = {}
    for clip in _once(divided.all_clips):
        if clip.label is not None and clip.path in sample.facts:
            opened.setdefault(clip.label, []).append(clip.path in sample.broken)
    lost = [f"{divided.classes[label]} ({len(found)} opened)" for label, found in opened.items() if all(found)]
    if lost and divided.classes:
        notes.append(f"no opened video can be read of the class {shorten_list(lost)}")
    return notes


def _once(clips: list[Clip]) -> list[Clip]:
    return list({(clip.path, clip.label): clip for clip in clips}.values())


def _near(path: str, place: Path) -> str:
    """A path as it is below the source, with the folder of its class; else its name."""
    folder = place if place.is_dir() else place.parent
    try:
        return str(Path(path).relative_to(folder.absolute()))
    except ValueError:
        return Path(path).name
