"""What each view of a test video says by itself, a row a video and view, kept where it takes no memory.

Rows wait in a temporary file, 20 bytes each: a full evaluation of Kinetics-400 (20,000 videos of 12 views) writes 5 MB.

Legend: B rows of a batch.
"""

import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from side4video.engine.process_group import ProcessGroup

ROW = np.dtype([("index", "<i8"), ("view", "<i4"), ("prediction", "<i4"), ("label_score", "<f4")])
MEMORY_BYTES = 1 << 18
"""Bytes that wait in memory before there is a file."""
BLOCK = 4096
"""Rows that are read at a time."""


class ViewRows:
    """Rows in the order in which they came."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed with its owner
        weakref.finalize(self, self._file.close)

    def add(
        self,
        indices_B: NDArray[Any],
        views_B: NDArray[Any],
        predictions_B: NDArray[Any],
        label_scores_B: NDArray[Any],
    ) -> None:
        """Keep a row for each: video, view, the class of the highest score, and the score of the label (NaN: none)."""
        rows = np.empty(len(indices_B), ROW)
        columns = (indices_B, views_B, predictions_B, label_scores_B)
        for name, column in zip(ROW.names or (), columns, strict=True):
            rows[name] = column
        self.append(rows)

    def append(self, rows: NDArray[Any]) -> None:
        """Keep rows that were kept elsewhere."""
        self._file.seek(0, 2)
        self._file.write(rows.tobytes())

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, a block at a time."""
        place = 0
        while True:
            self._file.seek(place)
            block = np.frombuffer(cast("bytes", self._file.read(BLOCK * ROW.itemsize)), ROW)
            if not len(block):
                return
            place += block.nbytes
            yield block

    def of_view(self, view: int) -> NDArray[Any]:
        """The rows of one view, by video: in the same order, whoever had them."""
        rows = np.concatenate([np.empty(0, ROW), *(block[block["view"] == view] for block in self.blocks())])
        return rows[rows["index"].argsort(kind="stable")]

    def gather_rows(self, process: ProcessGroup) -> "ViewRows":
        """The rows of all workers, on every worker."""
        if process.world == 1:
            return self
        whole, own = ViewRows(), self.blocks()
        while True:
            parts = process.gather(next(own, np.empty(0, ROW)))
            if not any(map(len, parts)):
                return whole
            for part in parts:
                whole.append(part)
