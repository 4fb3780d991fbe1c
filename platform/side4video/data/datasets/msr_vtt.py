"""MSR-VTT (Xu et al., CVPR 2016): ten thousand videos, twenty captions each.

    dataset: {kind: msr-vtt, annotations: "${MSRVTT}/annotations", root: "${MSRVTT}/videos"}

The annotations as CLIP4Clip and Side4Video use them: `MSRVTT_data.json` holds all captions, `MSRVTT_train.9k.csv` or
`MSRVTT_train.7k.csv` the training videos, and `MSRVTT_JSFUSION_test.csv`, also known as 1k-A, a thousand test videos
with one caption each. The original division (`train: full`) is in `MSRVTT_train.full.csv`, `MSRVTT_val.full.csv` and
`MSRVTT_test.full.csv`; its test videos have all twenty captions. Figures of the two cannot be compared.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from side4video.data.annotations.captioned import (
    Caption,
    CaptionedSpec,
    Extension,
    ListedVideo,
    index_by_id,
    listed_videos,
)
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.tables import Row, TableSchema, read_rows
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Split

TRAIN = TableSchema(("video_id",), required=("video_id",), needs_header=True, renamable=False)
TEST = TableSchema(
    ("video_id", "sentence"),
    required=("video_id", "sentence"),
    may_be_empty=("sentence",),
    needs_header=True,
    renamable=False,
)


class MsrVttSpec(CaptionedSpec):
    """MSR-VTT, from its original files: 9k or 7k videos for training and 1k-A for test, or the full division."""

    kind: Literal["msr-vtt"] = "msr-vtt"
    train: Literal["9k", "7k", "full"] = "9k"
    """The training set: 9,000 videos (as in the paper; Gabeur et al., ECCV 2020) or 7,010 (Miech et al., ICCV 2019),
    with 1k-A for test. `full`: the original division into 6,513 videos for training, 497 for validation and 2,990 for
    test."""
    extension: Extension = ".mp4"
    """Extension of the video files. Their names are the video id and this extension."""

    def splits(self) -> tuple[Split, ...]:
        """Training and test; the full division has validation too."""
        return SPLITS if self.train == "full" else TRAIN_AND_TEST

    def _videos(self, split: Split) -> list[ListedVideo]:
        if split == "test" and self.train != "full":
            rows = _read_table(self._file("MSRVTT_JSFUSION_test.csv"), TEST)
            captions = {row.values["video_id"]: [Caption(row.values["sentence"], row.origin)] for row in rows}
        else:
            rows = _read_table(self._file(f"MSRVTT_{split}.{self.train}.csv"), TRAIN)
            captions = _read_sentences(self._file("MSRVTT_data.json"), {row.values["video_id"] for row in rows})
        ids = index_by_id((row.values["video_id"], row.origin) for row in rows)
        return listed_videos(ids, captions, self.extension)


def _read_table(path: Path, form: TableSchema) -> list[Row]:
    return read_rows(path, delimiter="comma", form=form)


def _read_sentences(path: Path, requested: Collection[str]) -> dict[str, list[Caption]]:
    """The captions of the given videos, by id."""
    captions: dict[str, list[Caption]] = {}
    document = as_object(read_json(path), str(path), ("sentences",))
    for position, entry in enumerate(as_list(document["sentences"], f"{path}:sentences")):
        origin = f"{path}:sentences[{position}]"
        entry = as_object(entry, origin, ("video_id", "caption"))
        identifier = as_text(entry["video_id"], origin)
        if identifier in requested:
            captions.setdefault(identifier, []).append(Caption(as_text(entry["caption"], origin).strip(), origin))
    return captions
