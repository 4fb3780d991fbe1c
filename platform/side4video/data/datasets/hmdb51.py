"""HMDB51 (Kuehne et al., ICCV 2011): 6,766 videos of 51 actions, in three folds. There is no arXiv paper.

    dataset: {kind: hmdb51, annotations: "${HMDB51}/testTrainMulti_7030_splits", root: "${HMDB51}/videos", fold: 1}

The official files are one for each class and fold, `brush_hair_test_split1.txt`, with lines `video.avi 1`. In each fold
1 is training, 2 is test, and 0 is a video that the fold does not use. Videos are in one folder per class. The classes
are the names of the files, sorted.
"""

from pathlib import Path
from typing import ClassVar, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.readable_names import ClassNameStyle, split_joined
from side4video.data.annotations.tables import read_text
from side4video.data.clip import Split

_USES = {"0": "", "1": "train", "2": "test"}
"""What the number behind a video says: its split; empty: none."""


class Hmdb51Spec(LabelledSpec):
    """HMDB51, one of its three folds, from the official files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 51
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["hmdb51"] = "hmdb51"
    fold: Literal[1, 2, 3] = 1
    """Which of the three official divisions into training and test."""
    names: ClassNameStyle = "file"
    """Class names: as in the files (`brush_hair`), or `words` (`brush hair`), for text towers."""
    train_list: str = ""
    """Name of the file that lists the training videos. For `format: list` only."""
    test_list: str = ""
    """Name of the file that lists the test videos. For `format: list` only."""
    class_names: str = ""
    """Name of a file of class names, one per line. Empty: the classes are the names of the official files."""
    extension: Extension = ".avi"
    """Extension of the video files. For `format: official` only."""

    def _all_classes(self) -> tuple[str, ...]:
        names = super()._all_classes() if self.class_names else tuple(sorted(self._files()))
        return tuple(self._shown(name) for name in names)

    def _shown(self, name: str) -> str:
        return split_joined(name, "_") if self.names == "words" else name

    def _files(self) -> dict[str, Path]:
        """The official file of each class."""
        ending = f"_test_split{self.fold}.txt"
        files = {path.name.removesuffix(ending): path for path in self._file("").glob(f"?*{ending}")}
        if not files:
            raise InputError(
                str(self._file("")),
                f"no file of fold {self.fold} is in it",
                allowed=f"a folder with brush_hair{ending} and one such file for each class",
                fix="unpack test_train_splits.rar, and check `annotations`",
            )
        return files

    def _list(self, split: Split) -> Path:
        return super()._list(split) if self.format == "list" else self._file("")

    def _listed(self, split: Split) -> list[LabelledVideo]:
        if self.format == "list":
            return super()._listed(split)
        listed = [pair for name, path in sorted(self._files().items()) for pair in self._read_class(name, path)]
        videos = [video for use, video in listed if use == split]
        if not videos:
            raise InputError(str(self._file("")), f"no line says that a video is for {split}", fix="see `fold`")
        return videos

    def _read_class(self, name: str, path: Path) -> list[tuple[str, LabelledVideo]]:
        """The videos of a class, each with its split, or with an empty text if the fold does not use it."""
        found = []
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            # Names of videos may hold spaces, so lines are divided from the right.
            cells = line.rsplit(maxsplit=1)
            stem, dot, _ = cells[0].strip().rpartition(".")
            if len(cells) != 2 or cells[1] not in _USES or not dot or not stem:
                raise InputError(
                    f"{path}:{number}",
                    f"found {line.strip()!r:.80}",
                    allowed="video.avi and 1 (training), 2 (test) or 0 (not used)",
                    fix="correct the line, or unpack the official test_train_splits.rar again",
                )
            place = f"{name}/{stem}{'' if self.frame_pattern else self.extension}"
            found.append((_USES[cells[1]], LabelledVideo(place, self._shown(name), f"{path}:{number}")))
        return found
