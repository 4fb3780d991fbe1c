"""What a data set lists, whether it is there or not, and what the data set itself says about that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from side4video.core.errors import InputError
from side4video.data.annotations.missing_files import KeepSpec
from side4video.data.clip import TRAIN_AND_TEST, Clip, Split
from side4video.data.datasets import Dataset

POLICIES = ("missing_videos", "empty_captions")
"""Fields of data sets that say what becomes of gaps."""
ClipKey = tuple[str, float | None, float | None]
"""What is decoded: a file or folder, and a span of it. Several clips may be of one piece."""


@dataclass(frozen=True)
class Listing:
    """The clips of all splits."""

    splits: Mapping[Split, Sequence[Clip]]
    classes: tuple[str, ...]
    fingerprint: str
    """What runs carry; empty where the data set would stop a run."""
    errors: Mapping[Split, str]
    """Why it would, in the words that a run would end with."""

    def clips(self) -> Iterator[tuple[Split, Clip]]:
        """All of them, with their split."""
        for split, clips in self.splits.items():
            for clip in clips:
                yield split, clip


def clip_key(clip: Clip) -> ClipKey:
    """What of the disk a clip shows."""
    return clip.path, clip.start_seconds, clip.end_seconds


def list_clips(dataset: Dataset) -> Listing:
    """Read all lists; gaps stay in, and nothing is opened.

    Raises:
        InputError: No split can be listed at all; as the data set says it.
    """
    errors = {} if (fingerprint := _fingerprint(dataset)) else _listing_errors(dataset)
    fields = type(dataset).model_fields
    # Not checked, so that it takes a policy that no document may name.
    lenient = dataset.model_copy(update={name: KeepSpec() for name in POLICIES if name in fields})
    names = split_names(dataset)
    splits: dict[Split, Sequence[Clip]] = {}
    failures: list[InputError] = []
    for split in names:
        try:
            splits[split] = lenient.clips(split)
        except InputError as error:
            splits[split] = ()
            errors.setdefault(split, str(error))
            failures.append(error)
    if len(failures) == len(names):
        raise failures[0]
    return Listing(splits, dataset.classes(), fingerprint, errors)


def split_names(dataset: Dataset) -> tuple[Split, ...]:
    """The splits of a data set; training and test where its lists are too wrong to tell."""
    try:
        return dataset.splits()
    except InputError:
        return TRAIN_AND_TEST


def _fingerprint(dataset: Dataset) -> str:
    try:
        return dataset.fingerprint()
    except InputError:
        return ""


def _listing_errors(dataset: Dataset) -> dict[Split, str]:
    errors: dict[Split, str] = {}
    for split in split_names(dataset):
        try:
            dataset.clips(split)
        except InputError as error:
            errors[split] = str(error)
    return errors
