"""MSVD (Chen and Dolan, ACL 2011): 1,970 videos, some forty captions each.

    dataset: {kind: msvd, annotations: "${MSVD}/annotations", root: "${MSVD}/YouTubeClips"}

The annotations as CLIP4Clip and Side4Video use them: lists of video ids, and `raw-captions.pkl`, a pickle of
`{id: [[word, ...], ...]}`, of which nothing is executed. The same as JSON, words or whole sentences, is read too.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from side4video.data.annotations.captioned import (
    Caption,
    CaptionedSpec,
    Extension,
    ListedVideo,
    listed_videos,
    read_captions,
    read_ids,
)
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.pickles import read_plain_pickle
from side4video.data.clip import Split


class MsvdSpec(CaptionedSpec):
    """MSVD, from its original files: 1,200 videos for training, 670 for test."""

    kind: Literal["msvd"] = "msvd"
    captions: str = "raw-captions.pkl"
    """Name of the file with the captions of all videos: a pickle, or JSON if the name ends in `.json`."""
    train_list: str = "train_list.txt"
    """Name of the file with the ids of the training videos, one per line."""
    test_list: str = "test_list.txt"
    """Name of the file with the ids of the test videos, one per line. Use `val_list.txt` to tune hyperparameters."""
    extension: Extension = ".avi"
    """Extension of the video files. Their names are the video id and this extension."""

    def _videos(self, split: Split) -> list[ListedVideo]:
        ids = read_ids(self._file(self.train_list if split == "train" else self.test_list))
        return listed_videos(ids, _read_sentences(self._file(self.captions), ids), self.extension)


def _read_sentences(path: Path, requested: Collection[str]) -> dict[str, tuple[Caption, ...]]:
    """The captions of the given videos, by id. Words are joined by spaces."""
    document = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    table = as_object(document, str(path))
    captions = {}
    for identifier in requested:
        if identifier in table:
            origin = f"{path}:{identifier}"
            sentences = as_list(table[identifier], origin)
            captions[identifier] = read_captions(
                [_sentence(sentence, f"{origin}[{position}]") for position, sentence in enumerate(sentences)], origin
            )
    return captions


def _sentence(value: Any, origin: str) -> Any:
    return value if isinstance(value, str) else " ".join(as_text(word, origin) for word in as_list(value, origin))
