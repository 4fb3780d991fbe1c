"""LSMDC (Rohrbach et al., 2016, arXiv 1605.03705): clips of films with a sentence of their audio description.

    dataset: {kind: lsmdc, annotations: "${LSMDC}/annotations", root: "${LSMDC}/videos"}

The official lists have six columns divided by tabs, without a header and without quotes: id, two pairs of times, and
the sentence. The times are those of the film; each clip is a file of its own. An id may stand in several lines, with
other sentences. `0001_American_Beauty_00.00.51.926-00.00.54.129` is in the folder `0001_American_Beauty`. The test set
of papers is the thousand clips of `LSMDC16_challenge_1000_publictect.csv`.
"""

import re
from typing import Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Caption, CaptionedSpec, Extension, ListedVideo
from side4video.data.annotations.tables import read_text
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Split

_TIME = r"\d\d\.\d\d\.\d\d\.\d{3}"
_CLIP_ID = re.compile(rf"(?P<film>.+)_{_TIME}-{_TIME}")
_COLUMNS = ("id", "start_aligned", "end_aligned", "start_extracted", "end_extracted", "sentence")


class LsmdcSpec(CaptionedSpec):
    """LSMDC, from its original files: 101,046 clips for training, 1,000 for test."""

    kind: Literal["lsmdc"] = "lsmdc"
    train_list: str = "LSMDC16_annos_training.csv"
    """Name of the file that lists the training clips."""
    val_list: str = ""
    """Name of the file that lists validation clips: `LSMDC16_annos_val.csv`. Empty: there is no validation split."""
    test_list: str = "LSMDC16_challenge_1000_publictect.csv"
    """Name of the file that lists the test clips."""
    folders: Literal["film", "none"] = "film"
    """Where clips are: in a folder for each film, or all in one folder."""
    extension: Extension = ".avi"
    """Extension of the video files. Their names are the clip id and this extension."""

    def splits(self) -> tuple[Split, ...]:
        """Training and test, and validation if its list is named."""
        return SPLITS if self.val_list else TRAIN_AND_TEST

    def _videos(self, split: Split) -> list[ListedVideo]:
        path = self._file({"train": self.train_list, "val": self.val_list, "test": self.test_list}[split])
        captions: dict[str, list[Caption]] = {}
        # Not as CSV: a sentence may begin with a quote that nothing closes.
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            cells = [cell.strip() for cell in line.split("\t")]
            origin = f"{path}:{number}"
            if len(cells) != len(_COLUMNS):
                raise InputError(
                    origin,
                    f"{len(cells)} columns, where {len(_COLUMNS)} are expected",
                    allowed=f"{', '.join(_COLUMNS)}, divided by tabs",
                    fix="test files without sentences (`blindtest`) cannot be used",
                )
            captions.setdefault(cells[0], []).append(Caption(cells[-1], origin))
        if not captions:
            raise InputError(str(path), "the list is empty", fix="it needs one line per sentence")
        return [self._video(identifier, sentences) for identifier, sentences in captions.items()]

    def _video(self, identifier: str, sentences: list[Caption]) -> ListedVideo:
        found = _CLIP_ID.fullmatch(identifier)
        if found is None:
            raise InputError(
                sentences[0].origin,
                f"the id {identifier!r:.60} names no clip of a film",
                allowed="film and times: 0001_American_Beauty_00.00.51.926-00.00.54.129",
            )
        film = found["film"]
        folder = f"{film}/" if self.folders == "film" else ""
        path = f"{folder}{identifier}{self.extension}"
        return ListedVideo(path, sentences[0].origin, tuple(sentences), group=film)
