"""Diving48 (Li et al., ECCV 2018): some 18,000 dives of competitions, in 48 classes. There is no arXiv paper.

    dataset: {kind: diving48, annotations: "${DIVING48}/annotations", root: "${DIVING48}/rgb"}

The official lists are JSON, `[{vid_name, label, start_frame, end_frame}, ...]`; each entry is one file, so the frames
are not looked at. `Diving48_vocab.json` has four terms for each class: take-off, somersaults, twists and position. The
lists of version 1 have the same form and other labels, many of them wrong: figures of the two cannot be compared.
"""

from pathlib import Path
from typing import ClassVar, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.clip import Split

_LISTS = {
    ("v2", "train"): "Diving48_V2_train.json",
    ("v2", "test"): "Diving48_V2_test.json",
    ("v1", "train"): "Diving48_train.json",
    ("v1", "test"): "Diving48_test.json",
}


class Diving48Spec(LabelledSpec):
    """Diving48, version 2 or 1, from the official files or from lists of files."""

    DEFAULT_CLASSES: ClassVar[int] = 48
    """Number of classes that plans assume if the files are not on this machine."""
    kind: Literal["diving48"] = "diving48"
    version: Literal["v2", "v1"] = "v2"
    """Which official lists are read: those with corrected labels (`v2`), or the first ones."""
    train_list: str = ""
    """Name of the file that lists the training videos. Empty: the official one of the version."""
    test_list: str = ""
    """Name of the file that lists the test videos. Empty: the official one of the version."""
    class_names: str = "Diving48_vocab.json"
    """Name of the official file of the terms of each class. A class is named by its terms: `Back, 15som, 05Twis, FREE`.
    """
    extension: Extension = ".mp4"
    """Extension of the video files. For `format: official` only."""

    def _all_classes(self) -> tuple[str, ...]:
        path = self._file(self.class_names)
        names: dict[str, str] = {}
        for position, terms in enumerate(as_list(read_json(path), str(path))):
            origin = f"{path}:[{position}]"
            name = ", ".join(as_text(term, origin).strip() for term in as_list(terms, origin))
            if not name or name in names:
                found = f"the class {name!r} is that of {names[name]} too" if name else "a class without a term"
                raise InputError(origin, found, allowed="terms of a class that differ from all others")
            names[name] = origin
        if not names:
            raise InputError(str(path), "no class in it", fix="get the whole file")
        return tuple(names)

    def _list(self, split: Split) -> Path:
        side = "train" if split == "train" else "test"
        return self._file((self.train_list if split == "train" else self.test_list) or _LISTS[self.version, side])

    def _read_official(self, path: Path) -> list[LabelledVideo]:
        videos = []
        for position, value in enumerate(as_list(read_json(path), str(path))):
            origin = f"{path}:[{position}]"
            entry = as_object(value, origin, ("vid_name", "label"))
            name, label = as_text(entry["vid_name"], origin).strip(), entry["label"]
            if not name or isinstance(label, bool) or not isinstance(label, int):
                found = f"the label is {label!r:.40}" if name else "the vid_name is empty"
                raise InputError(origin, found, allowed="the name of a video, and the number of its class from 0")
            ending = "" if self.frame_pattern else self.extension
            videos.append(LabelledVideo(name + ending, str(label), origin))
        return videos
