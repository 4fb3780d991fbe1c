"""UCF101 (Soomro et al., 2012, arXiv 1212.0402): 13,320 videos of 101 actions, in three folds.

    dataset: {kind: ucf101, annotations: "${UCF101}/ucfTrainTestlist", root: "${UCF101}/UCF-101", fold: 1}

The official files are `classInd.txt` (`1 ApplyEyeMakeup`), `trainlist01.txt`
(`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`) and `testlist01.txt` (the same without a number). Their numbers begin
at 1. The class is the folder. The lists of papers' code (`format: list`) have numbers that begin at 0.
"""

import re
from pathlib import Path
from typing import ClassVar, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.readable_names import ClassNameStyle, split_camel_case
from side4video.data.annotations.tables import read_text
from side4video.data.clip import Split

_GROUP = re.compile(r"_(g\d+)_c\d+$")


class Ucf101Spec(LabelledSpec):
    """UCF101, one of its three folds, from the official files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 101
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["ucf101"] = "ucf101"
    fold: Literal[1, 2, 3] = 1
    """Which of the three official divisions into training and test."""
    names: ClassNameStyle = "file"
    """Class names: as in the file (`ApplyEyeMakeup`), or `words` (`Apply Eye Makeup`), for text towers."""
    train_list: str = ""
    """Name of the file that lists the training videos. Empty: the official one of the fold."""
    test_list: str = ""
    """Name of the file that lists the test videos. Empty: the official one of the fold."""
    class_names: str = "classInd.txt"
    """Name of the official file of class names and their numbers, which begin at 1."""
    extension: Extension = ".avi"
    """Extension of the video files. For `format: official` only."""

    def _all_classes(self) -> tuple[str, ...]:
        return tuple(self._shown(name) for name in _read_classes(self._file(self.class_names)))

    def _shown(self, name: str) -> str:
        return split_camel_case(name) if self.names == "words" else name

    def _list(self, split: Split) -> Path:
        name = self.train_list if split == "train" else self.test_list
        return self._file(name or f"{split}list{self.fold:02d}.txt")

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        numbers = {name: str(number) for number, name in enumerate(_read_classes(self._file(self.class_names)), 1)}
        videos = []
        for line_number, line in enumerate(read_text(path).split("\n"), 1):
            if not (cells := line.split()):
                continue
            origin = f"{path}:{line_number}"
            folder, _, file = cells[0].partition("/")
            stem, dot, _ = file.rpartition(".")
            if len(cells) > 2 or not stem or not dot:
                raise InputError(
                    origin,
                    f"found {line.strip()!r:.80}",
                    allowed="Class/video.avi, in the training list with the number of the class",
                    fix="is it the list of another format (`format: list`)?",
                )
            if len(cells) == 2 and cells[1] != numbers.get(folder, cells[1]):
                raise InputError(
                    origin,
                    f"the number is {cells[1]}, and {folder} has the number {numbers[folder]}",
                    allowed=f"numbers of {self.class_names}, which begin at 1",
                    fix="use `format: list` for a list whose numbers begin at 0",
                )
            found = _GROUP.search(stem)
            name = f"{folder}/{stem}{'' if self.frame_pattern else self.extension}"
            group = f"{folder}_{found[1]}" if found else ""
            videos.append(LabelledVideo(name, self._shown(folder), origin, group))
        return videos


def _read_classes(path: Path) -> tuple[str, ...]:
    """The names in the order of their numbers.

    Raises:
        InputError: The file is missing or empty, or a line is no number and name in order; file and line are named.
    """
    lines = [(number, line.split()) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(str(path), "no class name in it", allowed="a number from 1 and a name in each line")
    names: dict[str, None] = {}
    for position, (number, cells) in enumerate(lines, 1):
        if len(cells) != 2 or cells[0] != str(position) or cells[1] in names:
            found = f"found {' '.join(cells)!r:.60}"
            raise InputError(f"{path}:{number}", found, allowed=f"{position} and a name that differs from all others")
        names[cells[1]] = None
    return tuple(names)
