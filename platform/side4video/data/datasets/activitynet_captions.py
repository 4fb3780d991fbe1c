"""ActivityNet Captions (Krishna et al., 2017, arXiv 1705.00754): long videos, a sentence for each event.

    dataset: {kind: activitynet-captions, annotations: "${ACTIVITYNET}/captions", root: "${ACTIVITYNET}/videos"}

The original files are `{id: {duration, timestamps: [[start, end], ...], sentences: [...]}}`. Retrieval asks for the
whole video by all its sentences (paragraph to video; Zhang et al., 2018, arXiv 1810.07212). Papers test on
`val_1.json`. `val_2.json` describes the same videos again, so it is no validation set.
"""

from collections.abc import Iterator
from typing import Any, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import CaptionedSpec, Extension, ListedVideo, read_captions
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
        entries = [
            (identifier, f"{path}:{identifier}", value)
            for identifier, value in as_object(read_json(path), str(path)).items()
        ]
        if not entries:
            raise InputError(str(path), "the file is empty", fix="it needs an entry for each video")
        if self.captions == "paragraph":
            return [self._video(*entry) for entry in entries]
        listed = [event for entry in entries for event in self._events(*entry)]
        events = [event for event in listed if event is not None]
        if len(events) < len(listed):
            warn_once(f"{path}: left out {len(listed) - len(events)} events that end before they start")
        return events

    def _video(self, identifier: str, origin: str, value: Any) -> ListedVideo:
        """A whole video with all its sentences; when they happen is not looked at."""
        entry = as_object(value, origin, ("sentences",))
        sentences = read_captions(entry["sentences"], f"{origin}.sentences")
        return ListedVideo(f"{identifier}{self.extension}", origin, sentences, is_paragraph=True)

    def _events(self, identifier: str, origin: str, value: Any) -> Iterator[ListedVideo | None]:
        """Each event of a video; None for one that ends before it starts."""
        times = as_list(as_object(value, origin, ("timestamps",))["timestamps"], f"{origin}.timestamps")
        video = self._video(identifier, origin, value)
        if len(video.captions) != len(times):
            found = f"{len(video.captions)} sentences and {len(times)} timestamps"
            raise InputError(origin, found, allowed="as many of each")
        for position, (sentence, each) in enumerate(zip(video.captions, times, strict=True)):
            span = as_segment(each, f"{origin}.timestamps[{position}]")
            yield span and ListedVideo(video.path, sentence.origin, (sentence,), False, *span, group=identifier)
