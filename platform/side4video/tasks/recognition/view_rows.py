"""The prediction of each view of a test video, one row per video and view, in a temporary file.

A row has 20 bytes: a full evaluation of Kinetics-400 (20,000 videos of 12 views) writes 5 MB.

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
"""Bytes that stay in memory before a file is created."""
BLOCK = 4096
"""Rows per read."""


class ViewRows:
    """Rows in the order of `add`."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, block: int = BLOCK) -> None:
        self.block = block
        self._file = tempfile.SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115 - closed with its owner
        weakref.finalize(self, self._file.close)

    def add(
        self, indices_B: NDArray[Any], views_B: NDArray[Any], predictions_B: NDArray[Any], label_scores_B: NDArray[Any]
    ) -> None:
        """Add a row per video and view: the predicted class, and the score of the label (NaN without a label)."""
        rows = np.empty(len(indices_B), ROW)
        columns = (indices_B, views_B, predictions_B, label_scores_B)
        for name, column in zip(ROW.names or (), columns, strict=True):
            rows[name] = column
        self.append(rows)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows of another `ViewRows`."""
        self._file.seek(0, 2)
        self._file.write(rows.tobytes())

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in blocks."""
        position = 0
        while True:
            self._file.seek(position)
            block = np.frombuffer(cast("bytes", self._file.read(self.block * ROW.itemsize)), ROW)
            if not len(block):
                return
            position += block.nbytes
            yield block

    def of_view(self, view: int) -> NDArray[Any]:
        """The rows of one view, sorted by video."""
        rows = np.concatenate([np.empty(0, ROW), *(block[block["view"] == view] for block in self.blocks())])
        return rows[rows["index"].argsort(kind="stable")]

    def gather_rows(self, process: ProcessGroup) -> "ViewRows":
        """The rows of all workers, on every worker."""
        if process.world == 1:
            return self
        result, own = type(self)(block=self.block), self.blocks()
        while True:
            parts = process.gather(next(own, np.empty(0, ROW)))
            if not any(map(len, parts)):
                return result
            for part in parts:
                result.append(part)
