"""Labels of uploaded videos: several requests are one batch, and an unreadable video fails its own request only."""

from collections.abc import Callable, Sequence
from typing import Any

from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.core.worker_pool import WorkerPool
from side4video.data.streams.pool_prefetch import PoolPrefetcher
from side4video.inference.model import Model, Prediction


class ClassifierPredictor:
    """Answers with the labels of a classifier."""

    def __init__(self, build: Callable[[], Model], *, limit_seconds: float, processes: int) -> None:
        """Build the model.

        Args:
            build: Builds it.
            limit_seconds: Limit of the time to read a video.
            processes: Number of processes that read videos.

        Raises:
            InputError: The model cannot be built.
        """
        self.model = build()
        self._pool, self._limit_seconds = WorkerPool(processes), limit_seconds

    def answer(self, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The labels of the one video of each request."""
        predictions = self.model.predict(
            [request.paths[0] for request in requests],
            top=max(request.top for request in requests),
            prefetch=self._prefetch,
        )
        return [_response(request, each) for request, each in zip(requests, predictions, strict=True)]

    def close(self) -> None:
        """End the processes that read videos."""
        self._pool.__exit__()

    def _prefetch(self, reader: Any, spec: object) -> PoolPrefetcher:  # noqa: ARG002 - the pool replaces the loader
        return PoolPrefetcher(reader, self._pool, limit_seconds=self._limit_seconds)


def _response(request: PredictRequest, prediction: Prediction) -> PredictResponse:
    name = request.names[0]
    if prediction.error:
        error = prediction.error if prediction.is_video else f"no video can be read in it: {prediction.error}"
        return PredictResponse({"video": name, "error": error}, 422 if prediction.is_video else 415)
    return PredictResponse({"video": name, "labels": [list(label) for label in prediction.labels[: request.top]]})
