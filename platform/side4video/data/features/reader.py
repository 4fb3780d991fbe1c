"""Reads batches of cached rows, in place of videos."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from side4video.core.errors import InputError
from side4video.data.features.files import InvalidRowsFile, RowsFile
from side4video.data.features.store import ROWS, VIDEO, FeatureStore
from side4video.data.streams.batch import BrokenReport, ClipBatch

OPEN_FILES = 256
"""Maximum number of open files; systems allow a process about a thousand."""

MORE_LABELS = ("all_labels_BL", "head_labels_BS")
"""Labels that only some data sets have. They stand in the header of a file's rows, as lists."""


class StoredReader:
    """Reads batches like the readers of videos, with the cached features in addition.

    Only one thread at a time may read.
    """

    def __init__(
        self,
        store: FeatureStore,
        locate: Callable[[Any], tuple[int, int]],
        *,
        is_pinned: bool = False,
        only_frames: bool = False,
    ) -> None:
        """Nothing is opened before the first batch.

        Args:
            store: The split.
            locate: The view and the position of a key's clip.
            is_pinned: Read into page-locked memory, from which a copy to a CUDA device does not wait.
            only_frames: Leave out what comes from the tower.
        """
        self.store, self._locate, self._is_pinned = store, locate, is_pinned
        self._entries = (VIDEO,) if only_frames else tuple(entry for entry in store.layouts if entry != ROWS)
        self._open: OrderedDict[tuple[int, int, str], RowsFile] = OrderedDict()
        self._notes: OrderedDict[tuple[int, int], dict[str, Tensor]] = OrderedDict()

    def read(self, keys: Sequence[Any]) -> ClipBatch:
        """The rows of the keys, with the copies of a clip next to each other. Broken clips are left out and reported.

        Raises:
            InputError: A file is gone or damaged.
        """
        store = self.store
        broken: list[BrokenReport] = []
        captions: list[tuple[str, ...]] = []
        more: dict[str, list[list[int]]] = {name: [] for name in MORE_LABELS}
        places: list[tuple[int, int, int]] = []
        for key in keys:
            view, position = self._locate(key)
            shard, offset = divmod(position, store.shard_clips)
            about = self._file(view, shard, ROWS).about
            broken += [BrokenReport(**report) for report in about["broken"].get(str(offset), ())]
            first = offset * store.copies
            if self._numbers(view, shard)["present"][first]:
                places.append((view, shard, first))
                captions += [tuple(each) for each in about["captions"][first : first + store.copies]]
                for name, rows in more.items():
                    rows += about.get(name, [])[first : first + store.copies]
        numbers = {
            name: torch.cat(
                [self._numbers(view, shard)[name][first : first + store.copies] for view, shard, first in places]
            )
            if places
            else torch.empty(0, dtype=torch.int64)
            for name in ("labels", "indices", "views")
        }
        kept = {name: self._gather(entry, name, places) for entry in self._entries for name in store.layouts[entry]}
        return ClipBatch(
            video_BTCHW=kept.pop(VIDEO),
            labels_B=numbers["labels"],
            indices_B=numbers["indices"],
            views_B=numbers["views"],
            captions=tuple(captions),
            broken=tuple(broken),
            stored=kept,
            all_labels_BL=_as_tensor(more["all_labels_BL"]),
            head_labels_BS=_as_tensor(more["head_labels_BS"]),
        )

    def close(self) -> None:
        """Close the files; reading opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def _gather(self, entry: str, name: str, places: Sequence[tuple[int, int, int]]) -> Tensor:
        """Rows of one tensor, read directly into the batch."""
        copies, row = self.store.copies, self.store.layouts[entry][name]
        batch = torch.empty((len(places) * copies, *row.shape), dtype=row.dtype, pin_memory=self._is_pinned)
        for number, (view, shard, first) in enumerate(places):
            rows = batch[number * copies : (number + 1) * copies]
            self._file(view, shard, entry).read_into(name, first, rows)
        return batch

    def _numbers(self, view: int, shard: int) -> dict[str, Tensor]:
        """Labels, indices and views of a shard, which is read as a whole."""
        key = (view, shard)
        if key not in self._notes:
            file = self._file(view, shard, ROWS)
            self._notes[key] = {name: file.read(name) for name in self.store.layouts[ROWS]}
            if len(self._notes) > OPEN_FILES:
                self._notes.popitem(last=False)
        self._notes.move_to_end(key)
        return self._notes[key]

    def _file(self, view: int, shard: int, entry: str) -> RowsFile:
        key = (view, shard, entry)
        if key not in self._open:
            try:
                self._open[key] = self.store.open(view, shard, entry)
            except (OSError, InvalidRowsFile) as problem:
                raise InputError(
                    str(self.store.path(view, shard, entry)),
                    f"cannot be read: {problem}",
                    fix="remove the file; the next run builds it again",
                ) from problem
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key]


def _as_tensor(rows: Sequence[Sequence[int]]) -> Tensor | None:
    """Labels of several clips; None where there are none."""
    return torch.tensor(rows, dtype=torch.int64) if rows else None
