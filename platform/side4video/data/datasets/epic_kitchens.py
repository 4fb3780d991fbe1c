"""EPIC-KITCHENS-100 (Damen et al., 2022, arXiv 2006.13256): spans of long videos, each with a verb and a noun.

    dataset: {kind: epic-kitchens, annotations: "${EPIC}/annotations", root: "${EPIC}/EPIC-KITCHENS"}

The original files. A clip is what its timestamps name of the file of its video; frame numbers are not used, because
they are those of the frames that the authors extracted. A stop after the end of a video reads up to that end.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText
from side4video.data.annotations.captioned import Extension, index_by_id
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, FlipPairsSpec, flipped_labels
from side4video.data.annotations.missing_files import MissingFiles, RaiseSpec, drop_missing
from side4video.data.annotations.tables import Row, TableSchema, read_rows
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside, root_address

_CELLS = (
    "narration_id",
    "participant_id",
    "video_id",
    "start_timestamp",
    "stop_timestamp",
    "verb_class",
    "noun_class",
)
_ALL_NOUNS = ("all_nouns", "all_noun_classes")
FORM = TableSchema(
    # The other columns are named, so that none of them counts as one of ours misspelt.
    (*_CELLS, "narration_timestamp", "start_frame", "stop_frame", "narration", "verb", "noun", *_ALL_NOUNS),
    required=_CELLS,
    needs_header=True,
    renamable=False,
)
CLASSES = TableSchema(("id", "key"), required=("id", "key"), needs_header=True, renamable=False)
_TIME = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d+)?)")


class EpicKitchensSpec(DatasetSpec):
    """EPIC-KITCHENS-100, from its original files: a verb and a noun of each span, for the task `multi-head`."""

    DEFAULT_HEADS: ClassVar[Mapping[str, int]] = {"verb": 97, "noun": 300}
    """Numbers of classes that plans assume if the files are not on this machine."""
    kind: Literal["epic-kitchens"] = "epic-kitchens"
    annotations: Annotated[PathText, Field(min_length=1)]
    """Folder of the original annotation files, unchanged; may contain `${NAME}`. A relative path starts at the folder
    that the command runs in."""
    root: PathText = ""
    """Folder of the videos, or an address such as `s3://bucket/epic`; may contain `${NAME}`. Empty: the folder of the
    annotations."""
    train_list: str = "EPIC_100_train.csv"
    """Name of the file that lists the training spans."""
    test_list: str = "EPIC_100_validation.csv"
    """Name of the file that lists the test spans; by default the validation set: the test set has no public labels."""
    verb_classes: str = "EPIC_100_verb_classes.csv"
    """Name of the file of the verbs."""
    noun_classes: str = "EPIC_100_noun_classes.csv"
    """Name of the file of the nouns."""
    video_folders: Literal["participants", "none"] = "participants"
    """Where videos are: `participants`, as they are downloaded (`P01/videos/P01_01.MP4`), or `none` (`P01_01.MP4`)."""
    extension: Extension = ".MP4"
    """Extension of the video files."""
    missing_videos: MissingFiles = RaiseSpec()
    """What happens to spans whose video is missing: raise an error, or skip them."""
    mirror: FlipLabels = FlipByNameSpec()
    """How classes of both heads change when clips are flipped horizontally."""

    def classes(self) -> tuple[str, ...]:
        """Empty: there are heads instead of classes."""
        return ()

    def head_names(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(self.DEFAULT_HEADS)

    @listed_once
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """The names of verbs and nouns, in the order of their ids."""
        return {
            "verb": _read_classes(self._file(self.verb_classes)),
            "noun": _read_classes(self._file(self.noun_classes)),
        }

    @listed_once
    def clips(self, split: Split) -> list[Clip]:
        """The spans of a split in the order of its list.

        Raises:
            InputError: A list is missing or wrong (file and line are named), a video is missing and may not be, or
                none is left.
        """
        path, root = self._file(self.train_list if split == "train" else self.test_list), self._root()
        rows, heads = read_rows(path, delimiter="comma", form=FORM), self.heads()
        index_by_id((row.values["narration_id"], row.origin) for row in rows)
        clips = [self._as_clip(row, root, heads) for row in rows]
        present = drop_missing(clips, self.missing_videos, where=str(path), root=root)
        if not present:
            raise InputError(str(path), f"none of the videos of {len(clips)} spans is in {root}", fix="check `root`")
        return present

    def flipped_heads(self) -> tuple[Mapping[int, int], ...] | None:
        """The class of a flipped clip by its class, of both heads; None if one of them has no mapping."""
        flipped = [flipped_labels(self._mirror_of(names), names) for names in self.heads().values()]
        known = tuple(each for each in flipped if each is not None)
        return known if len(known) == len(flipped) else None

    def _mirror_of(self, names: tuple[str, ...]) -> FlipLabels:
        """Of pairs, those of this head; what is of no head stays, to be refused."""
        if not isinstance(self.mirror, FlipPairsSpec):
            return self.mirror
        every = set().union(*self.heads().values())
        own = tuple(pair for pair in self.mirror.pairs if set(pair) & set(names) or not set(pair) & every)
        return self.mirror.model_copy(update={"pairs": own})

    def _as_clip(self, row: Row, root: str, heads: Mapping[str, tuple[str, ...]]) -> Clip:
        values = row.values
        start, stop = (_seconds(row, f"{end}_timestamp") for end in ("start", "stop"))
        if start >= stop:
            raise InputError(
                row.origin,
                f"start {values['start_timestamp']} is not before stop {values['stop_timestamp']}",
                fix="correct the line, or remove it",
            )
        folder = f"{values['participant_id']}/videos/" if self.video_folders == "participants" else ""
        return Clip(
            path=resolve_inside(root, f"{folder}{values['video_id']}{self.extension}", row.origin),
            label=None,
            start_seconds=start,
            end_seconds=stop,
            group=values["video_id"],
            origin=row.origin,
            head_labels=tuple(_position(row, f"{head}_class", len(names)) for head, names in heads.items()),
        )

    def _file(self, name: str) -> Path:
        return Path(expand(self.annotations, "data.dataset.annotations")) / name

    def _root(self) -> str:
        return root_address(self.root or self.annotations, f"data.dataset.{'root' if self.root else 'annotations'}")


def _read_classes(path: Path) -> tuple[str, ...]:
    """The keys of a file of classes, whose ids run from 0 without gaps."""
    names: dict[str, str] = {}
    for row in read_rows(path, delimiter="comma", form=CLASSES):
        if row.values["id"] != str(len(names)):
            raise InputError(
                row.origin,
                f"the id is {row.values['id']!r}",
                allowed=f"{len(names)}: ids run from 0 without gaps",
                fix="use the file as it was published",
            )
        if row.values["key"] in names:
            raise InputError(
                row.origin,
                f"the class {row.values['key']!r} is in {names[row.values['key']]} already",
                fix="use the file as it was published",
            )
        names[row.values["key"]] = row.origin
    return tuple(names)


def _seconds(row: Row, column: str) -> float:
    """A time HH:MM:SS.ss in seconds, to the microsecond: sums of halves and sixtieths would round."""
    match = _TIME.fullmatch(row.values[column])
    if match is None:
        raise InputError(
            row.origin,
            f"{column} is {row.values[column]!r}",
            allowed="a time such as 00:01:02.50",
            fix="correct the line",
        )
    return round(int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]), 6)


def _position(row: Row, column: str, classes: int) -> int:
    text = row.values[column]
    if not text.isdecimal() or int(text) >= classes:
        raise InputError(row.origin, f"{column} is {text!r}", allowed=f"0 to {classes - 1}", fix="correct the line")
    return int(text)
