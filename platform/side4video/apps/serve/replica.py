"""A replica: a process with a model that answers questions, several at once where several wait."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import psutil
from ray import serve

from side4video.apps.serve.protocol import Predictor, PredictRequest, PredictResponse
from side4video.core.errors import Side4VideoError
from side4video.distributed.compat import bind_replicas_to_loopback

BATCH_WAIT_SECONDS = 0.005
"""How long a question waits for others; while an answer is computed, they gather anyway."""


class Replica:
    """Ray Serve makes one of these in each of its processes."""

    def __init__(self, build: Callable[[], Predictor], batch: int) -> None:
        """Build the model.

        Args:
            build: Makes it.
            batch: Questions that are answered at once.
        """
        bind_replicas_to_loopback()
        self._mistake: Exception | None = None
        self._answerer: Predictor | None = None
        gathered: Any = self.answer  # the decorator's own attributes
        gathered.set_max_batch_size(batch)
        try:
            self._answerer = build()
        except Side4VideoError as mistake:  # whoever starts the server asks; Ray would try again, and again
            self._mistake = mistake

    async def state(self) -> dict[str, Any]:
        """Why it cannot answer, its process, and what of it lies in memory."""
        process = psutil.Process()
        return {"mistake": self._mistake, "process": os.getpid(), "resident_bytes": process.memory_info().rss}

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=BATCH_WAIT_SECONDS)
    async def answer(self, questions: list[PredictRequest]) -> list[PredictResponse]:
        """One answer for each question; Ray Serve calls it with one and gathers."""
        if self._answerer is None:
            raise RuntimeError("there is no model")
        return await asyncio.to_thread(self._answerer.answer, questions)

    def __del__(self) -> None:
        """End the processes that read videos; called when Ray Serve ends the replica."""
        if getattr(self, "_answerer", None) is not None:
            self._answerer.close()  # type: ignore[union-attr]
