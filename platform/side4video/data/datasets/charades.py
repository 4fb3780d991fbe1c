"""Charades (Sigurdsson et al., 2016, arXiv 1604.01753): whole videos of 157 actions, several in a video.

    dataset: {kind: charades, annotations: "${CHARADES}/Charades", root: "${CHARADES}/Charades_v1_480"}

The original files. An action stands in the column `actions` as its class, start and end in seconds, with `;` between
actions: `c092 11.90 21.20;c147 0.00 12.60`. A video has each class that one of its actions has. Times are checked to
be numbers and not used: a video is always read from its begin to its end, also where an action ends after that.
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
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.annotations.missing_files import MissingFiles, RaiseSpec, drop_missing
from side4video.data.annotations.tables import Row, TableSchema, read_rows, read_text
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside, root_address

FORM = TableSchema(
    ("id", "actions", "length"),
    required=("id", "actions"),
    may_be_empty=("actions",),
    needs_header=True,
    renamable=False,
)
_CLASS = re.compile(r"c(\d{3}) +(\S.*)")
_ACTION = re.compile(r"c(\d{3}) +\d+(\.\d*)? +\d+(\.\d*)?")


class CharadesSpec(DatasetSpec):
    """Charades, from its original files: all actions of each video, for the task `multi-label`."""

    DEFAULT_CLASSES: ClassVar[int] = 157
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["charades"] = "charades"
    annotations: Annotated[PathText, Field(min_length=1)]
    """Folder of the original annotation files, unchanged; may contain `${NAME}`. A relative path starts at the folder
    that the command runs in."""
    root: PathText = ""
    """Folder of the videos, or an address such as `s3://bucket/charades`; may contain `${NAME}`. Empty: the folder of
    the annotations."""
    train_list: str = "Charades_v1_train.csv"
    """Name of the file that lists the training videos."""
    test_list: str = "Charades_v1_test.csv"
    """Name of the file that lists the test videos."""
    class_names: str = "Charades_v1_classes.txt"
    """Name of the file of class names, with lines such as `c000 Holding some clothes`."""
    extension: Extension = ".mp4"
    """Extension of the video files."""
    missing_videos: MissingFiles = RaiseSpec()
    """What happens to listed videos that are missing: raise an error, or skip them."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""

    @listed_once
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their codes, without these.

        Raises:
            InputError: A line is wrong, a code is missing, or a name appears twice.
        """
        path, found = self._file(self.class_names), {}
        lines = ((number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), 1))
        for number, line in ((number, line) for number, line in lines if line):
            match = _CLASS.fullmatch(line)
            if match is None or int(match[1]) != len(found):
                allowed = f"c{len(found):03d} and a name: codes run from c000 without gaps"
                raise InputError(f"{path}:{number}", f"found {line!r:.80}", allowed=allowed, fix="is it another file?")
            if match[2] in found:
                raise InputError(
                    f"{path}:{number}", f"the class {match[2]!r} appears twice", fix="remove one of the lines"
                )
            found[match[2]] = number
        if not found:
            raise InputError(str(path), "no class name in it", fix="is it another file?")
        return tuple(found)

    @listed_once
    def clips(self, split: Split) -> list[Clip]:
        """The videos of a split in the order of its list.

        Raises:
            InputError: A list is missing or wrong (file and line are named), a video is missing and may not be, or
                none is left.
        """
        path, root = self._file(self.train_list if split == "train" else self.test_list), self._root()
        rows, classes = read_rows(path, delimiter="comma", form=FORM), len(self.classes())
        index_by_id((row.values["id"], row.origin) for row in rows)
        clips = [
            Clip(
                path=resolve_inside(root, f"{row.values['id']}{self.extension}", row.origin),
                label=None,
                origin=row.origin,
                labels=_labels(row, classes),
            )
            for row in rows
        ]
        present = drop_missing(clips, self.missing_videos, where=str(path), root=root)
        if not present:
            raise InputError(str(path), f"none of the {len(clips)} listed videos is in {root}", fix="check `root`")
        return present

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def _file(self, name: str) -> Path:
        return Path(expand(self.annotations, "data.dataset.annotations")) / name

    def _root(self) -> str:
        return root_address(self.root or self.annotations, f"data.dataset.{'root' if self.root else 'annotations'}")


def _labels(row: Row, classes: int) -> tuple[int, ...]:
    """The classes of a video's actions, ascending, each once; none of an empty cell."""
    found = set()
    for action in filter(None, (part.strip() for part in row.values["actions"].split(";"))):
        match = _ACTION.fullmatch(action)
        if match is None:
            allowed = "actions such as c092 11.90 21.20, with ; between them, or nothing"
            raise InputError(row.origin, f"an action is {action!r:.80}", allowed=allowed, fix="correct the line")
        if int(match[1]) >= classes:
            raise InputError(
                row.origin, f"c{match[1]} is no class", allowed=f"c000 to c{classes - 1:03d}", fix="correct the line"
            )
        found.add(int(match[1]))
    return tuple(sorted(found))
