"""ActivityNet Captions (Krishna et al., 2017, arXiv 1705.00754): long videos, a sentence for each event.

    dataset: {kind: activitynet-captions, annotations: "${ACTIVITYNET}/captions", root: "${ACTIVITYNET}/videos"}

The original files are `{id: {duration, timestamps: [[start, end], ...], sentences: [...]}}`. Retrieval asks for the
whole video by all its sentences (paragraph to video; Zhang et al., 2018, arXiv 1810.07212). Papers test on
`val_1.json`. `val_2.json` describes the same videos again, so it is no validation set.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Caption, CaptionedSpec, Extension, ListedVideo, read_captions
from side4video.data.annotations.json_files import as_list, as_object, read_json
from side4video.data.annotations.missing_files import warn_once
from side4video.data.annotations.segments import as_segment
from side4video.data.clip import Split


class ActivityNetCaptionsSpec(CaptionedSpec):
    """ActivityNet Captions, from its original files: whole videos with a paragraph, or events with a sentence each."""

    kind: Literal["activitynet-captions"] = "activitynet-captions"
    captions: Literal["paragraph", "sentences"] = "paragraph"
    """What a clip is: a whole video with all its sentences as one text, or each event, a span of a video, with its
    sentence."""
    train_data: str = "train.json"
    """File with the sentences of the training videos."""
    test_data: str = "val_1.json"
    """File with the sentences of the test videos."""
    extension: Extension = ".mp4"
    """Extension of the video files. Their names are the video id and this extension: `v_QOlSCBRmfWY.mp4`."""

    def _videos(self, split: Split) -> list[ListedVideo]:
        path = self._file(self.train_data if split == "train" else self.test_data)
        videos: list[ListedVideo] = []
        empty = 0
        for identifier, origin, sentences, spans in _entries(path):
            name = f"{identifier}{self.extension}"
            if self.captions == "paragraph":
                videos.append(ListedVideo(name, origin, sentences, is_paragraph=True))
                continue
            for sentence, span in zip(sentences, spans, strict=True):
                if span is None:
                    empty += 1
                else:
                    videos.append(ListedVideo(name, sentence.origin, (sentence,), False, *span, group=identifier))
        if empty:
            warn_once(f"{path}: left out {empty} events that end before they start")
        if not videos:
            raise InputError(str(path), "the file is empty", fix="it needs an entry for each video")
        return videos


def _entries(
    path: Path,
) -> Iterator[tuple[str, str, tuple[Caption, ...], list[tuple[float, float] | None]]]:
    """Id, origin, sentences and spans of each video."""
    for identifier, value in as_object(read_json(path), str(path)).items():
        origin = f"{path}:{identifier}"
        entry = as_object(value, origin, ("timestamps", "sentences"))
        sentences = read_captions(entry["sentences"], f"{origin}.sentences")
        times = as_list(entry["timestamps"], f"{origin}.timestamps")
        if len(sentences) != len(times):
            raise InputError(
                origin, f"{len(sentences)} sentences and {len(times)} timestamps", allowed="as many of each"
            )
        yield (
            identifier,
            origin,
            sentences,
            [as_segment(each, f"{origin}.timestamps[{position}]") for position, each in enumerate(times)],
        )
