"""Jester v1 (Materzynska et al., ICCV Workshops 2019): 148,092 gestures as folders of frames. There is no arXiv paper.

    dataset: {kind: jester, annotations: "${JESTER}/labels", root: "${JESTER}/20bn-jester-v1"}

The official lists are lines `id;label`, without a header; the frames of a video are `{id}/00001.jpg` and so on. A flip
makes `Swiping Left` of `Swiping Right`, and `Turning Hand Clockwise` of `Turning Hand Counterclockwise`.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.semicolon_lists import read_semicolon_list
from side4video.data.decode.frame_names import FramePattern


class JesterSpec(LabelledSpec):
    """Jester v1, from the official files or from lists of folders."""

    DEFAULT_CLASSES: ClassVar[int] = 27
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["jester"] = "jester"
    train_list: str = "jester-v1-train.csv"
    """Name of the file that lists the training videos."""
    test_list: str = "jester-v1-validation.csv"
    """Name of the file that lists the test videos; by default the validation set: the test set has no labels."""
    class_names: Annotated[str, Field(min_length=1)] = "jester-v1-labels.csv"
    """Name of the file of class names, one per line, in the order of the classes."""
    frame_pattern: FramePattern = "{:05d}.jpg"
    """File name pattern of the images, if each video is a folder of frames. Numbers start at 1."""
    extension: Extension = ".webm"
    """Extension of the video files, if the frames were encoded as videos and `frame_pattern` is empty."""

    def _path(self, video: LabelledVideo) -> str:
        return video.name if self.frame_pattern else video.name + self.extension

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        return read_semicolon_list(path, example="34870;Drumming Fingers")
