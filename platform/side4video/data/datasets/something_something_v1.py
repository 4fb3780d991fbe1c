"""Something-Something v1 (Goyal et al., ICCV 2017, arXiv 1706.04261): 108,499 short videos as folders of frames.

    dataset: {kind: something-something-v1, annotations: "${SSV1}/labels", root: "${SSV1}/20bn-something-something-v1"}

The official lists are lines `id;label`, without a header; the frames of a video are `{id}/00001.jpg` and so on. The
lists of papers' code are lines `id frames label` (`format: list`).
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.semicolon_lists import read_semicolon_list
from side4video.data.decode.frame_names import FramePattern


class SomethingSomethingV1Spec(LabelledSpec):
    """Something-Something v1, from the official files or from lists of folders."""

    DEFAULT_CLASSES: ClassVar[int] = 174
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["something-something-v1"] = "something-something-v1"
    train_list: str = "something-something-v1-train.csv"
    """Name of the file that lists the training videos."""
    test_list: str = "something-something-v1-validation.csv"
    """Name of the file that lists the test videos; by default the validation set, as in all papers."""
    class_names: Annotated[str, Field(min_length=1)] = "something-something-v1-labels.csv"
    """Name of the file of class names, one per line."""
    class_order: Literal["alphabet", "file"] = "alphabet"
    """Order of the classes that numbers in lists refer to: sorted by name (TSN, TSM, Side4Video), or as in the file
    (mmaction2)."""
    frame_pattern: FramePattern = "{:05d}.jpg"
    """File name pattern of the images, if each video is a folder of frames. Numbers start at 1."""
    extension: Extension = ".webm"
    """Extension of the video files, if the frames were encoded as videos and `frame_pattern` is empty."""

    def _all_classes(self) -> tuple[str, ...]:
        names = super()._all_classes()
        return tuple(sorted(names)) if self.class_order == "alphabet" else names

    def _path(self, video: LabelledVideo) -> str:
        return video.name if self.frame_pattern else video.name + self.extension

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        return read_semicolon_list(path, example="100218;Unfolding something")
