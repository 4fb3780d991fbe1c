"""A replica: a process with a model that answers requests in batches."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import psutil
from ray import serve

from side4video.apps.serve.protocol import Predictor, PredictRequest, PredictResponse
from side4video.core.errors import Side4VideoError
from side4video.distributed.compat import bind_replicas_to_localhost

BATCH_WAIT_SECONDS = 0.005
"""How long a request waits for others while the replica is idle."""


class Replica:
    """The class that Ray Serve deploys, one instance in each of its processes."""

    def __init__(self, build: Callable[[], Predictor], batch: int) -> None:
        """Build the model.

        `batch` is the maximum number of requests in one forward.
        """
        bind_replicas_to_localhost()
        self._build_error: Exception | None = None
        self._predictor: Predictor | None = None
        batched: Any = self.answer  # `serve.batch` adds attributes that its types do not have
        batched.set_max_batch_size(batch)
        try:
            self._predictor = build()
        except Side4VideoError as error:  # an exception here would make Ray start the replica again and again
            self._build_error = error

    async def state(self) -> dict[str, Any]:
        """The error of `build`, the process id, and its resident memory."""
        process = psutil.Process()
        return {"build_error": self._build_error, "process": os.getpid(), "resident_bytes": process.memory_info().rss}

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=BATCH_WAIT_SECONDS)
    async def answer(self, requests: list[PredictRequest]) -> list[PredictResponse]:
        """One response for each request; callers pass one request, and Ray Serve collects them into a batch."""
        if self._predictor is None:
            raise RuntimeError("there is no model")
        return await asyncio.to_thread(self._predictor.answer, requests)

    def __del__(self) -> None:
        """End the processes that read videos. Ray Serve calls it when it ends the replica."""
        if getattr(self, "_predictor", None) is not None:
            self._predictor.close()  # type: ignore[union-attr]
