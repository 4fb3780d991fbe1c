"""A reader that hangs, as a decoder may; importable by decoding processes."""

import time
from collections.abc import Sequence

import torch

from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.reader import EvaluationKey


class HangingReader:
    """Gives empty clips, and hangs on one position."""

    def __init__(self, position: int, *, seconds: float = 600) -> None:
        self.position, self.seconds = position, seconds

    def read(self, keys: Sequence[EvaluationKey]) -> ClipBatch:
        """A batch without pictures."""
        if any(key.index == self.position for key in keys):
            time.sleep(self.seconds)
        indices_B = torch.tensor([key.index for key in keys])
        return ClipBatch(torch.zeros(len(keys), 1, dtype=torch.uint8), indices_B, indices_B, indices_B)
