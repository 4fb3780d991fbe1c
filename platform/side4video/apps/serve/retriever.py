"""Ranks uploaded videos by their similarity to a text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from side4video.apps.serve.protocol import PredictRequest, PredictResponse
from side4video.core.errors import InputError
from side4video.core.worker_pool import WorkerPool
from side4video.data.streams.pool_prefetch import PoolPrefetcher
from side4video.inference.ranking import rank_videos
from side4video.inference.retrieval import RetrievalModel
from side4video.inference.video_folder import VideoFile
from side4video.inference.video_index import FolderIndex


class RetrievalPredictor:
    """Answers with the ranking of a retrieval run."""

    def __init__(self, build: Callable[[], RetrievalModel], *, limit_seconds: float, processes: int) -> None:
        """Build the encoder.

        Args:
            build: Builds it.
            limit_seconds: Limit of the time to read a video.
            processes: Number of processes that read videos.

        Raises:
            InputError: The encoder cannot be built.
        """
        self.encoder = build()
        self._pool, self._limit_seconds = WorkerPool(processes), limit_seconds

    def answer(self, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The ranking of the videos of each request."""
        return [self._rank(request) for request in requests]

    def close(self) -> None:
        """End the processes that read videos."""
        self._pool.__exit__()

    def _rank(self, request: PredictRequest) -> PredictResponse:
        try:
            query = self.encoder.read(request.text)
        except InputError as error:
            return PredictResponse({"error": f"{error.found}: give a text to search for"}, 422)
        names = {Path(path).name: name for path, name in zip(request.paths, request.names, strict=True)}
        files = [VideoFile(Path(path).name, 0, 0) for path in request.paths]
        embedded = list(self.encoder.embed_videos(Path(request.paths[0]).parent, files, prefetch=self._prefetch))
        index = FolderIndex().with_all(embedded)
        broken = [{"video": names[each.file.name], "error": each.reason} for each in index.broken]
        if not index.entries:
            return PredictResponse({"error": broken[0]["error"], "broken": broken}, 422)
        matches = rank_videos(self.encoder.matching, query.kept, index, top=request.top, process=self.encoder.process)
        ranking = [{"rank": each.rank, "video": names[each.entry.file.name], "score": each.score} for each in matches]
        return PredictResponse({"text": request.text, "ranking": ranking, "broken": broken})

    def _prefetch(self, reader: Any, spec: object) -> PoolPrefetcher:  # noqa: ARG002 - the pool replaces the loader
        return PoolPrefetcher(reader, self._pool, limit_seconds=self._limit_seconds)
