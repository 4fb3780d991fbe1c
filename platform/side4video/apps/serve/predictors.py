"""Answers of a served model: labels of a classifier, or rankings of a retrieval run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.core.errors import InputError
from side4video.core.worker_pool import WorkerPool
from side4video.data.streams.pool_prefetch import PoolPrefetcher
from side4video.inference.model import Model
from side4video.inference.prediction import LabelChoice, Prediction
from side4video.inference.ranking import rank_videos
from side4video.inference.retrieval import RetrievalModel
from side4video.inference.video_folder import VideoFile
from side4video.inference.video_index import FolderIndex


class _VideoPredictor:
    """A model, and processes that read videos."""

    def __init__(self, build: Callable[[], Any], *, limit_seconds: float, processes: int) -> None:
        """Build the model. `limit_seconds` is the limit of the time to read a video.

        Raises:
            InputError: The model cannot be built.
        """
        self.model = build()
        self._pool, self._limit_seconds = WorkerPool(processes), limit_seconds

    def close(self) -> None:
        """End the processes that read videos."""
        self._pool.__exit__()

    def _prefetch(self, reader: Any, spec: object) -> PoolPrefetcher:  # noqa: ARG002 - the pool replaces the loader
        return PoolPrefetcher(reader, self._pool, limit_seconds=self._limit_seconds)


class ClassifierPredictor(_VideoPredictor):
    """Labels. Several requests are one batch, and an unreadable video fails its own request only."""

    model: Model

    def answer(self, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The labels of the one video of each request."""
        predictions = self.model.predict(
            [request.paths[0] for request in requests],
            top=max(request.top for request in requests),  # each request gets its own choice of these
            prefetch=self._prefetch,
        )
        return [_response(request, each) for request, each in zip(requests, predictions, strict=True)]


class RetrievalPredictor(_VideoPredictor):
    """Rankings of uploaded videos by their similarity to a text."""

    model: RetrievalModel

    def answer(self, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The ranking of the videos of each request."""
        return [self._rank(request) for request in requests]

    def _rank(self, request: PredictRequest) -> PredictResponse:
        try:
            query = self.model.read(request.text)
        except InputError as error:
            return PredictResponse({"error": f"{error.found}: give a text to search for"}, 422)
        names = {Path(path).name: name for path, name in zip(request.paths, request.names, strict=True)}
        files = [VideoFile(Path(path).name, 0, 0) for path in request.paths]
        embedded = list(self.model.embed_videos(Path(request.paths[0]).parent, files, prefetch=self._prefetch))
        index = FolderIndex().with_all(embedded)
        broken = [{"video": names[each.file.name], "error": each.reason} for each in index.broken]
        if not index.entries:
            return PredictResponse({"error": broken[0]["error"], "broken": broken}, 422)
        matches = rank_videos(self.model.matching, query.kept, index, top=request.top, process=self.model.process)
        ranking = [{"rank": each.rank, "video": names[each.entry.file.name], "score": each.score} for each in matches]
        return PredictResponse({"text": request.text, "ranking": ranking, "broken": broken})


def _response(request: PredictRequest, prediction: Prediction) -> PredictResponse:
    name = request.names[0]
    if prediction.error:
        error = prediction.error if prediction.is_video else f"no video can be read in it: {prediction.error}"
        return PredictResponse({"video": name, "error": error}, 422 if prediction.is_video else 415)
    choice = LabelChoice(request.top, request.threshold)
    chosen = {head: choice.reached(labels) for head, labels in prediction.head_labels.items()}
    document: dict[str, Any] = {"video": name, "labels": [list(each) for each in choice.reached(prediction.labels)]}
    if chosen:
        document["heads"] = {head: [list(each) for each in labels] for head, labels in chosen.items()}
    return PredictResponse(document)
