"""VATEX (Wang et al., ICCV 2019): ten-second clips of YouTube videos, ten English and ten Chinese captions each.

    dataset: {kind: vatex, annotations: "${VATEX}/annotations", root: "${VATEX}/clips"}

Captions come from the official files, lists of `{videoID, enCap, ...}`, or from the one that HGR, CLIP2Video and
Side4Video use, `{videoID: {enCap, ...}}` (`captions: [vatex_data.json]`). With `language: chinese`, the official files'
`chCap` are read. The split is theirs: lists of 25,991 training and 1,500 test clips.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.spec import ADDED_LATER
from side4video.data.annotations.captioned import (
    Caption,
    CaptionedSpec,
    Extension,
    ListedVideo,
    index_by_id,
    listed_videos,
    read_captions,
    read_ids,
)
from side4video.data.annotations.json_files import as_object, as_text, read_json
from side4video.data.clip import Split

_CLIP_ID = re.compile(r"(?P<youtube>.+)_(?P<start>\d{6})_(?P<end>\d{6})")


class VatexSpec(CaptionedSpec):
    """VATEX with its English or Chinese captions, from its original files and the lists of HGR and CLIP2Video."""

    kind: Literal["vatex"] = "vatex"
    captions: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "vatex_training_v1.0.json",
        "vatex_validation_v1.0.json",
    )
    """Names of the files of captions. Together they contain all listed clips."""
    train_list: str = "train_list.txt"
    """Name of the file with the ids of the training clips, one per line."""
    test_list: str = "test_list.txt"
    """Name of the file with the ids of the test clips, one per line. Use `val_list.txt` to tune hyperparameters."""
    files: Literal["clips", "whole-videos"] = "clips"
    """Contents of the video files. `clips`: one ten-second clip each, named by the clip id (YouTube id, start, end).
    `whole-videos`: whole videos named by the YouTube id; the clip is the span that the clip id gives."""
    extension: Extension = ".mp4"
    """Extension of the video files."""
    language: Annotated[Literal["english", "chinese"], ADDED_LATER] = "english"
    """Which captions are read: `enCap` or `chCap` of the files. Chinese ones need a backbone whose tokenizer knows
    Chinese, such as MetaCLIP 2 or SigLIP 2."""

    def _videos(self, split: Split) -> list[ListedVideo]:
        ids = read_ids(self._file(self.train_list if split == "train" else self.test_list))
        entries = [entry for name in self.captions for entry in _entries(self._file(name))]
        index_by_id((identifier, origin) for identifier, origin, _ in entries)
        key = "enCap" if self.language == "english" else "chCap"
        captions: dict[str, Sequence[Caption]] = {
            identifier: read_captions(as_object(entry, origin, (key,))[key], f"{origin}.{key}")
            for identifier, origin, entry in entries
            if identifier in ids
        }
        videos = listed_videos(ids, captions, self.extension)
        if self.files == "clips":
            return videos
        return [self._span(video, identifier) for video, identifier in zip(videos, ids, strict=True)]

    def _span(self, video: ListedVideo, identifier: str) -> ListedVideo:
        """The clip as a span of the whole video."""
        match = _CLIP_ID.fullmatch(identifier)
        if match is None or int(match["start"]) >= int(match["end"]):
            raise InputError(
                video.origin,
                f"the id {identifier!r} names no span",
                allowed="YouTube's id, start and end in seconds: G9zN5TTuGO4_000179_000189",
                fix="use `files: clips` if every file holds one clip",
            )
        return replace(
            video,
            path=f"{match['youtube']}{self.extension}",
            start_seconds=float(match["start"]),
            end_seconds=float(match["end"]),
            group=match["youtube"],
        )


def _entries(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Id, origin and entry of all clips of a file of captions."""
    document = read_json(path)
    if not isinstance(document, list):
        for identifier, entry in as_object(document, str(path)).items():
            yield identifier, f"{path}:{identifier}", entry
        return
    for position, entry in enumerate(document):
        origin = f"{path}:[{position}]"
        yield as_text(as_object(entry, origin, ("videoID", "enCap"))["videoID"], origin), origin, entry
