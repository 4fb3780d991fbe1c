"""Something-Something v2 (Goyal et al., ICCV 2017, arXiv 1706.04261): 220,847 short WebM videos.

    dataset: {kind: something-something-v2, annotations: "${SSV2}/labels", root: "${SSV2}/20bn-something-something-v2"}

The official lists are JSON, `[{id, label, template, placeholders}, ...]`. The class is the template; the file of class
names has it without the brackets. The lists of papers' code are lines `id frames label` (`format: list`); with
`frame_pattern: img_{:05d}.jpg` each video is a folder of its frames.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo


class SomethingSomethingV2Spec(LabelledSpec):
    """Something-Something v2, from the official files or from lists of videos."""

    DEFAULT_CLASSES: ClassVar[int] = 174
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["something-something-v2"] = "something-something-v2"
    train_list: str = "something-something-v2-train.json"
    """Name of the file that lists the training videos."""
    test_list: str = "something-something-v2-validation.json"
    """Name of the file that lists the test videos; by default the validation set, as in all papers."""
    class_names: Annotated[str, Field(min_length=1)] = "something-something-v2-labels.json"
    """Name of the file of class names and their indices."""
    extension: Extension = ".webm"
    """Extension of the video files."""

    def _path(self, video: LabelledVideo) -> str:
        return video.name if self.frame_pattern else video.name + self.extension

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        videos = []
        for position, value in enumerate(as_list(read_json(path), str(path))):
            origin = f"{path}:[{position}]"
            entry = as_object(value, origin, ("id", "template"))
            name = as_text(entry["id"], origin).strip()
            if not name:
                raise InputError(origin, "the id is empty", fix="fill it in, or remove the entry")
            template = as_text(entry["template"], origin).replace("[", "").replace("]", "").strip()
            videos.append(LabelledVideo(name, template, origin))
        return videos
