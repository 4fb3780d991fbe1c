"""Kinetics (Kay et al., 2017, arXiv 1705.06950; Kinetics-600: Carreira et al., 2018, arXiv 1808.01340).

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
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.class_names import infer_classes
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.tables import Row, TableSchema, as_seconds, read_rows
from side4video.data.clip import Split

FORM = TableSchema(
    ("label", "youtube_id", "time_start", "time_end", "split", "is_cc"),
    required=("label", "youtube_id", "time_start", "time_end"),
    needs_header=True,
    renamable=False,
)


class KineticsSpec(LabelledSpec):
    """Kinetics-400 or Kinetics-600, from the official CSV files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 400
    """Number of classes that plans assume if the files are not on this machine."""
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

    @model_validator(mode="after")
    def lists_name_the_folder_themselves(self) -> Self:
        """With `format: list`, the list contains the folders."""
        if self.format == "list" and self.class_folders != "none":
            raise ValueError(
                f"class_folders is {self.class_folders}, and a list names folders itself · allowed: none · "
                "fix: remove class_folders"
            )
        return self

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their positions."""
        if self.class_names:
            return super().classes()
        return infer_classes([*self._labels("train"), *self._labels("test")])

    def _labels(self, split: Split) -> list[tuple[str, str]]:
        """All labels of a list, each with its file and line."""
        if self.format == "list":
            return [(video.label, video.origin) for video in self._listed(split)]
        # Not through `_listed`, which would build the file names of hundreds of thousands of videos.
        rows = read_rows(self._list(split), delimiter="comma", form=FORM)
        return [(row.values["label"], row.origin) for row in rows]

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        rows = read_rows(path, delimiter="comma", form=FORM)
        ending = "" if self.frame_pattern else self.extension
        return [LabelledVideo(self._folder(row) + _stem(row) + ending, row.values["label"], row.origin) for row in rows]

    def _folder(self, row: Row) -> str:
        if self.class_folders == "none":
            return ""
        label = row.values["label"]
        return f"{label if self.class_folders == 'spaces' else label.replace(' ', '_')}/"


def _stem(row: Row) -> str:
    """The file name without its extension."""
    start, end = (as_seconds(row, column) or 0.0 for column in ("time_start", "time_end"))
    if start >= end or start % 1 or end % 1:
        raise InputError(
            row.origin, f"from {start:g} s to {end:g} s", allowed="whole seconds, the start before the end: 44, 54"
        )
    return f"{row.values['youtube_id']}_{start:06.0f}_{end:06.0f}"
