"""Moments in Time (Monfort et al., 2018, arXiv 1801.03150): a million videos of three seconds in 339 classes.

    dataset:
      kind: moments-in-time
      annotations: ${MOMENTS}
      root: ${MOMENTS}/training
      test_root: ${MOMENTS}/validation

The official lists have lines `blocking/karate_4.mp4,blocking,3,0` without a header: a path, its class, and how many
annotators agreed and disagreed, which is not looked at. `moments_categories.txt` has lines `name,index`. They are in no
order that may be relied on: the index is the position of the class. The second release has 305 classes.
"""

from pathlib import Path
from typing import ClassVar, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.readable_names import ClassNameStyle, split_joined
from side4video.data.annotations.tables import read_text


class MomentsInTimeSpec(LabelledSpec):
    """Moments in Time, from the official files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 339
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["moments-in-time"] = "moments-in-time"
    names: ClassNameStyle = "file"
    """Class names: as in the file (`playing+music`), or `words` (`playing music`), for text towers."""
    train_list: str = "trainingSet.csv"
    """Name of the file that lists the training videos."""
    test_list: str = "validationSet.csv"
    """Name of the file that lists the test videos; by default the validation set, as in all papers."""
    class_names: str = "moments_categories.txt"
    """Name of the official file of class names and their indices."""

    def _all_classes(self) -> tuple[str, ...]:
        return tuple(self._shown(name) for name in _read_categories(self._file(self.class_names)))

    def _shown(self, name: str) -> str:
        return split_joined(name, "+") if self.names == "words" else name

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        videos = []
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            # A path may hold a comma, so lines are divided from the right.
            cells = [cell.strip().strip('"') for cell in line.rsplit(",", 3)]
            if len(cells) != 4 or not cells[0] or not cells[1] or not (cells[2] + cells[3]).isdecimal():
                raise InputError(
                    f"{path}:{number}",
                    f"found {line.strip()!r:.80}",
                    allowed="path,label,positive,negative, such as blocking/karate_4.mp4,blocking,3,0",
                    fix="is it the list of another format (`format: list`), or one with a header?",
                )
            name = cells[0].rpartition(".")[0] if self.frame_pattern else cells[0]
            videos.append(LabelledVideo(name, self._shown(cells[1]), f"{path}:{number}"))
        return videos


def _read_categories(path: Path) -> tuple[str, ...]:
    """The names in the order of their indices.

    Raises:
        InputError: A line is no name and index, one appears twice, or an index is left out; file and line are named.
    """
    names: dict[int, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        name, _, index = (cell.strip() for cell in line.rpartition(","))
        if not name or not index.isdecimal() or int(index) in names or name in names.values():
            raise InputError(
                f"{path}:{number}", f"found {line.strip()!r:.60}", allowed="name,index, with each name and index once"
            )
        names[int(index)] = name
    if not names or sorted(names) != list(range(len(names))):
        gap = next(index for index in range(len(names) + 1) if index not in names)
        raise InputError(str(path), f"no class has the index {gap}", fix="indices must run from 0 without gaps")
    return tuple(names[index] for index in range(len(names)))
