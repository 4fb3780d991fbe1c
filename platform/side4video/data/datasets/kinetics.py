"""Kinetics-400 (arXiv 1705.06950), Kinetics-600 (arXiv 1808.01340) and Kinetics-700 (arXiv 1907.06987).

Kay et al., 2017; Carreira et al., 2018; Carreira et al., 2019.

    dataset:
      kind: kinetics
      annotations: ${K400}/annotations
      root: ${K400}/train
      test_root: ${K400}/val
      missing_videos: {kind: skip}

The official lists are CSV with a header `label,youtube_id,time_start,time_end,split`; the ten seconds that each line
names are one file, `{youtube_id}_{start:06d}_{end:06d}.mp4`. The lists of papers' code name the files themselves:

      format: list
      train_list: kinetics_video_train_se320.txt
      test_list: kinetics_video_val_se320.txt
      class_names: kinetics_400_labels.csv

The lists of the three have one form. Their classes are the sorted labels of each: a class has another position in
Kinetics-600 than in Kinetics-400, and some have another name. Zero-shot recognition on 160 classes of Kinetics-600 that
Kinetics-400 lacks (Chen and Huang, 2021, arXiv 2108.02833) reads one of three splits of the classes:

      class_count: 600
      only_classes: ${K600}/split_1.txt
"""

import difflib
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from side4video.core.errors import InputError
from side4video.core.spec import ADDED_LATER
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.class_names import infer_classes
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.tables import Row, TableSchema, as_seconds, read_rows, read_text
from side4video.data.clip import Split

FORM = TableSchema(
    ("label", "youtube_id", "time_start", "time_end", "split", "is_cc"),
    required=("label", "youtube_id", "time_start", "time_end"),
    needs_header=True,
    renamable=False,
)


class KineticsSpec(LabelledSpec):
    """Kinetics-400, -600 or -700, from the official CSV files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 400
    """Number of classes that plans assume if neither the files nor `class_count` say another."""
    kind: Literal["kinetics"] = "kinetics"
    train_list: str = "train.csv"
    """Name of the file that lists the training videos."""
    test_list: str = "val.csv"
    """Name of the file that lists the test videos; by default the validation set, as in all papers."""
    class_names: str = ""
    """Name of the file of class names. Empty: the sorted labels of both lists, which is the usual order."""
    class_folders: Literal["none", "spaces", "underscores"] = "none"
    """Whether videos are in one folder per class, and how the folders are named: like the class (`spaces`), or with
    underscores instead of spaces. For `format: official` only."""
    extension: Extension = ".mp4"
    """Extension of the video files. For `format: official` only."""
    class_count: Annotated[Literal[400, 600, 700], ADDED_LATER] = 400
    """Number of classes that plans assume if the files are not on this machine; the files decide where they are."""

    @model_validator(mode="after")
    def lists_name_the_folder_themselves(self) -> Self:
        """With `format: list`, the list contains the folders."""
        if self.format == "list" and self.class_folders != "none":
            raise ValueError(
                f"class_folders is {self.class_folders}, and a list names folders itself · allowed: none · "
                "fix: remove class_folders"
            )
        return self

    def all_usual_classes(self) -> int:
        """Number of classes that plans assume if the files are not on this machine."""
        return self.class_count

    def _all_classes(self) -> tuple[str, ...]:
        if self.class_names:
            return super()._all_classes()
        return infer_classes([*self._labels("train"), *self._labels("test")])

    def _labels(self, split: Split) -> list[tuple[str, str]]:
        """All labels of a list, each with its file and line."""
        if self.format == "list":
            return [(video.label, video.origin) for video in self._listed(split)]
        # Not through `_listed`, which would build the file names of hundreds of thousands of videos.
        rows = _read_rows(self._list(split))
        return [(row.values["label"], row.origin) for row in rows]

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        rows = _read_rows(path)
        ending = "" if self.frame_pattern else self.extension
        return [LabelledVideo(self._folder(row) + _stem(row) + ending, row.values["label"], row.origin) for row in rows]

    def _folder(self, row: Row) -> str:
        if self.class_folders == "none":
            return ""
        label = row.values["label"]
        return f"{label if self.class_folders == 'spaces' else label.replace(' ', '_')}/"


def _read_rows(path: Path) -> list[Row]:
    """The rows of an official list.

    Raises:
        InputError: It has no labels, or is no such list; file and line are named.
    """
    try:
        return read_rows(path, delimiter="comma", form=FORM)
    except InputError as error:
        columns = [cell.strip().strip('"') for cell in _first_line(path).split(",")]
        if "youtube_id" not in columns or difflib.get_close_matches("label", columns, 1):
            raise
        raise InputError(
            error.where,
            f"the list has no labels: {', '.join(columns)}",
            allowed="a header with label, youtube_id, time_start and time_end",
            fix="test sets were published without labels; papers test on the validation set: test_list: val.csv",
        ) from None


def _first_line(path: Path) -> str:
    return read_text(path).lstrip().partition("\n")[0] if path.is_file() else ""


def _stem(row: Row) -> str:
    """The file name without its extension."""
    start, end = (as_seconds(row, column) or 0.0 for column in ("time_start", "time_end"))
    if start >= end or start % 1 or end % 1:
        raise InputError(
            row.origin, f"from {start:g} s to {end:g} s", allowed="whole seconds, the start before the end: 44, 54"
        )
    return f"{row.values['youtube_id']}_{start:06.0f}_{end:06.0f}"
