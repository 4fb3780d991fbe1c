"""The cached files of one split: their names, their content, and which are missing.

`<root>/<key>/<split>-view<k>/<entry>-<shard>.safetensors`. The key is a hash of everything that the values depend on;
`index.json` beside the views contains these settings.

Legend: T frames, S pixels of a side.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.plugin import source_checksum
from side4video.data.clip import Split
from side4video.data.features.files import InvalidRowsFile, Layout, RowsFile, row_bytes
from side4video.data.features.spec import PASS_CLIPS
from side4video.data.spec import DataSpec

FORMAT = 1
"""Increased whenever older files would be read wrongly."""
ROWS, VIDEO = "rows", "video"
"""Entries that do not come from the tower: labels and indices, and the frames."""
INDEX = "index.json"

log = logging.getLogger(__name__)


def data_layouts(data: DataSpec) -> dict[str, Layout]:
    """The tensors of a row in the entries that do not come from the tower.

    `present` is false if a clip could not be decoded; the other values of its rows are zeros.
    """
    number = torch.empty((), dtype=torch.int64, device="meta")
    frames_TCSS = torch.empty((data.frames, 3, data.size, data.size), dtype=torch.uint8, device="meta")
    present = torch.empty((), dtype=torch.bool, device="meta")
    rows = {"labels": number, "indices": number, "views": number, "present": present}
    return {ROWS: rows, VIDEO: {VIDEO: frames_TCSS}}


def data_identity(
    data: DataSpec,
    split: Split,
    *,
    fingerprint: str,
    mirrored: Mapping[int, int],
    mirrored_heads: Sequence[Mapping[int, int]] = (),
) -> dict[str, Any]:
    """The settings that frames and labels of a split depend on, as JSON values, apart from the view.

    `fingerprint` is that of the data set; `mirrored` has the labels of flipped training clips,
    `mirrored_heads` those of each head.
    """
    left_out = {"class_sampling", "dataset", "loader", "recipe", "broken_clips", "augmentation"}
    # Not kept in a cache of features. The sentences count for other indexes of videos.
    left_out |= {"neighbours", "descriptions", "first_epoch"}
    left_out |= {"classes", "shots"}  # the fingerprint names them
    described = {} if data.descriptions is None else {"descriptions": data.descriptions.fingerprint()}
    left_out |= {"views"} if split == "train" else {"seed", "train_fraction", "repeated_sampling"}
    # Clips are kept as they are before any mixing, and an experiment that mixes them may not read them.
    augmentation = data.augmentation.model_dump(
        mode="json", include=None if split == "train" else {"resize"}, exclude={"mix", "transforms"}
    )
    heads = [{str(label): each[label] for label in sorted(each)} for each in mirrored_heads]
    transforms = [each for each in data.augmentation.transforms if split == "train" or each.in_evaluation]
    if transforms:  # their sources count, too
        augmentation["transforms"] = [
            [each.model_dump(mode="json"), source_checksum(type(each))] for each in transforms
        ]
    return {
        **data.model_dump(mode="json", exclude=left_out),
        "split": split,
        "augmentation": augmentation,
        "broken_clips": data.broken_clips.kind,
        "dataset": fingerprint,
        "mirrored": {str(label): mirrored[label] for label in sorted(mirrored)} if split == "train" else {},
        **described,
        **({"mirrored_heads": heads} if heads and split == "train" else {}),
    }


@dataclass(frozen=True)
class FeatureStore:
    """The cached rows of one split."""

    root: Path
    split: Split
    identity: Mapping[str, Any]
    """The settings that the values in the files depend on, apart from the view, as JSON values."""
    layouts: Mapping[str, Layout]
    """The tensors of a row, by entry."""
    clips: int
    views: int
    copies: int
    """Rows of a clip in a view: repeated samples in training, crops in evaluation. They are stored next to each
    other."""
    shard_clips: int

    @cached_property
    def key(self) -> str:
        """The name of the folder: the first 32 digits of a SHA-256 over identity, composition and format."""
        return hashlib.sha256(self._index.encode()).hexdigest()[:32]

    @cached_property
    def _index(self) -> str:
        made_of = {"format": FORMAT, "pass_clips": PASS_CLIPS, "shard_clips": self.shard_clips, **self.identity}
        return json.dumps(made_of, sort_keys=True, indent=2) + "\n"

    @property
    def folder(self) -> Path:
        """Where the files of this split are."""
        return self.root / self.key

    @property
    def shards(self) -> int:
        """Files of an entry in a view."""
        return -(-self.clips // self.shard_clips)

    @property
    def bytes(self) -> int:
        """Of everything, in all views; headers, about a kilobyte a file, are not counted."""
        return self.clips * self.copies * self.views * sum(row_bytes(layout) for layout in self.layouts.values())

    def clips_of(self, shard: int) -> range:
        """Positions of the clips in a shard."""
        return range(shard * self.shard_clips, min(self.clips, (shard + 1) * self.shard_clips))

    def path(self, view: int, shard: int, entry: str) -> Path:
        """The file of an entry."""
        return self.folder / f"{self.split}-view{view}" / f"{entry}-{shard:05d}.safetensors"

    def about(self, view: int, shard: int, entry: str) -> dict[str, Any]:
        """What the header of a file says of its place; a file that was moved does not fit."""
        return {"key": self.key, "split": self.split, "view": view, "shard": shard, "entry": entry}

    def open(self, view: int, shard: int, entry: str) -> RowsFile:
        """The file of an entry, known to be the right one.

        Raises:
            FileNotFoundError: There is none.
            NotARowsFile: It is cut, or was made of something else.
        """
        file = RowsFile(self.path(view, shard, entry))
        expected = self.about(view, shard, entry)
        is_ours = {key: file.about.get(key) for key in expected} == expected
        if not is_ours or not file.holds(self.layouts[entry], len(self.clips_of(shard)) * self.copies):
            file.close()
            raise InvalidRowsFile("it is whole, but was made for another place or of something else")
        return file

    def missing(self) -> "Iterator[MissingShard]":
        """The shards to build. Truncated or foreign files are included, with a warning."""
        for view in range(self.views):
            there = self._names(view)
            for shard in range(self.shards):
                entries = tuple(entry for entry in self.layouts if not self._is_there(view, shard, entry, there))
                if entries:
                    yield MissingShard(view, shard, entries)

    def lacks(self, view: int, shard: int) -> tuple[str, ...]:
        """The entries of one shard that are not there."""
        there = self._names(view)
        return tuple(entry for entry in self.layouts if not self._is_there(view, shard, entry, there))

    def absent(self) -> int:
        """Number of files that this process does not see. No file is opened."""
        expected = self.views * self.shards * len(self.layouts)
        seen = 0
        for view in range(self.views):
            there = self._names(view)
            seen += sum(
                self.path(view, shard, entry).name in there for shard in range(self.shards) for entry in self.layouts
            )
        return expected - seen

    def bytes_of(self, missing: "MissingShard") -> int:
        """Size of the files to build, in bytes."""
        rows = len(self.clips_of(missing.shard)) * self.copies
        return rows * sum(row_bytes(self.layouts[entry]) for entry in missing.entries)

    def write_index(self) -> None:
        """Write `index.json`, which contains the settings that the files depend on.

        Raises:
            InputError: Something else stands there.
        """
        target = self.folder / INDEX
        if not target.exists():
            write_atomically(target, self._index)
        elif target.read_text(encoding="utf-8", errors="replace") != self._index:
            raise InputError(
                str(target),
                "it does not say what the folder's name stands for",
                fix="remove the folder; the next run builds it again",
            )

    def _names(self, view: int) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self.path(view, 0, ROWS).parent))  # noqa: PTH208 - names, of many files
        except OSError:
            return frozenset()

    def _is_there(self, view: int, shard: int, entry: str, names: frozenset[str]) -> bool:
        path = self.path(view, shard, entry)
        if path.name not in names:
            return False
        try:
            self.open(view, shard, entry).close()
        except (OSError, InvalidRowsFile) as problem:
            log.warning("%s: %s; it is built again", path, problem)
            return False
        return True


@dataclass(frozen=True)
class MissingShard:
    """The entries of a shard that have to be built."""

    view: int
    shard: int
    entries: tuple[str, ...]
