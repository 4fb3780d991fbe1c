"""Labels for videos that strangers send: several questions are one batch, a bad file is its sender's affair alone."""

from collections.abc import Callable, Sequence
from typing import Any

from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.core.worker_pool import WorkerPool
from side4video.data.streams.pool_prefetch import PoolPrefetcher
from side4video.inference.model import Model, Prediction


class ClassifierPredictor:
    """A classifier that answers."""

    def __init__(self, build: Callable[[], Model], *, limit_seconds: float, processes: int) -> None:
        """Build the model.

        Args:
            build: Makes it.
            limit_seconds: To read one video.
            processes: That read them.

        Raises:
            InputError: The model cannot be built.
        """
        self.model = build()
        self._pool, self._limit_seconds = WorkerPool(processes), limit_seconds

    def answer(self, questions: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The labels of each question's one video."""
        found = self.model.predict(
            [question.paths[0] for question in questions],
            top=max(question.top for question in questions),
            prefetch=self._prefetch,
        )
        return [_say(question, each) for question, each in zip(questions, found, strict=True)]

    def close(self) -> None:
        """End the processes that read."""
        self._pool.__exit__()

    def _prefetch(self, reader: Any, spec: object) -> PoolPrefetcher:  # noqa: ARG002 - the crew stands for the loader
        return PoolPrefetcher(reader, self._pool, limit_seconds=self._limit_seconds)


def _say(question: PredictRequest, found: Prediction) -> PredictResponse:
    name = question.names[0]
    if found.error:
        said = found.error if found.is_video else f"no video can be read in it: {found.error}"
        return PredictResponse({"video": name, "error": said}, 422 if found.is_video else 415)
    return PredictResponse({"video": name, "labels": [list(label) for label in found.labels[: question.top]]})
