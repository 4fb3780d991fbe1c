"""DiDeMo (Hendricks et al., ICCV 2017) for retrieval by paragraph: all descriptions of a video are one text.

    dataset: {kind: didemo, annotations: "${DIDEMO}/data", root: "${DIDEMO}/videos"}

The original files, lists of `{video, description, times, ...}`. Which moment a description is of is not looked at:
retrieval asks for the video by all of them (Zhang et al., ECCV 2018).
"""

import os
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.bounds import Positive
from side4video.data.annotations.captioned import Caption, CaptionedSpec, ListedVideo
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.clip import Split


class DidemoSpec(CaptionedSpec):
    """DiDeMo, from its original files. Each video has one caption: all its descriptions joined into a paragraph."""

    kind: Literal["didemo"] = "didemo"
    train_data: str = "train_data.json"
    """File with the descriptions of the training videos."""
    test_data: str = "test_data.json"
    """File with the descriptions of the test videos. Use `val_data.json` to tune hyperparameters."""
    extension: Annotated[str, Field(pattern=r"^(\.\w+)?$")] = ""
    """Extension of the video files, if it differs from the listed names: for example `.mp4` after a conversion. Empty:
    as listed."""
    described_seconds: Positive = 31
    """Only this many seconds of each video are read: annotators saw the first 30 seconds. CLIP4Clip reads 31."""

    def _videos(self, split: Split) -> list[ListedVideo]:
        path = self._file(self.train_data if split == "train" else self.test_data)
        captions: dict[str, list[Caption]] = {}
        for position, value in enumerate(as_list(read_json(path), str(path))):
            origin = f"{path}:[{position}]"
            entry = as_object(value, origin, ("video", "description"))
            caption = Caption(as_text(entry["description"], origin).strip(), origin)
            captions.setdefault(as_text(entry["video"], origin), []).append(caption)
        return [
            ListedVideo(
                path=os.path.splitext(name)[0] + self.extension if self.extension else name,  # noqa: PTH122 - text
                origin=sentences[0].origin,
                captions=tuple(sentences),
                is_paragraph=True,
                end_seconds=self.described_seconds,
            )
            for name, sentences in captions.items()
        ]
