"""Which of the videos that somebody sends is most like a text that they send along."""

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
    """A retrieval run that answers; nothing of what it was sent is kept."""

    def __init__(self, build: Callable[[], RetrievalModel], *, limit_seconds: float, processes: int) -> None:
        """Build the encoder.

        Args:
            build: Makes it.
            limit_seconds: To read one video.
            processes: That read them.

        Raises:
            InputError: It cannot be built.
        """
        self.encoder = build()
        self._pool, self._limit_seconds = WorkerPool(processes), limit_seconds

    def answer(self, questions: Sequence[PredictRequest]) -> list[PredictResponse]:
        """The ranking of each question's videos."""
        return [self._rank(question) for question in questions]

    def close(self) -> None:
        """End the processes that read."""
        self._pool.__exit__()

    def _rank(self, question: PredictRequest) -> PredictResponse:
        try:
            asked = self.encoder.read(question.text)
        except InputError as error:
            return PredictResponse({"error": f"{error.found}: say what is to be seen"}, 422)
        names = {Path(path).name: name for path, name in zip(question.paths, question.names, strict=True)}
        files = [VideoFile(Path(path).name, 0, 0) for path in question.paths]
        seen = list(self.encoder.look(Path(question.paths[0]).parent, files, prefetch=self._prefetch))
        known = FolderIndex().with_all(seen)
        broken = [{"video": names[each.file.name], "error": each.reason} for each in known.broken]
        if not known.entries:
            return PredictResponse({"error": broken[0]["error"], "broken": broken}, 422)
        found = rank_videos(self.encoder.matching, asked.kept, known, top=question.top, process=self.encoder.process)
        ranking = [{"rank": e.rank, "video": names[e.entry.file.name], "score": e.score} for e in found]
        return PredictResponse({"text": question.text, "ranking": ranking, "broken": broken})

    def _prefetch(self, reader: Any, spec: object) -> PoolPrefetcher:  # noqa: ARG002 - the crew stands for the loader
        return PoolPrefetcher(reader, self._pool, limit_seconds=self._limit_seconds)
