"""Which of the videos that somebody sends is most like a text that they send along."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from side4video.core.asking import Answer, Question
from side4video.core.crew import Crew
from side4video.core.errors import InputError
from side4video.data.crew_prefetch import CrewPrefetcher
from side4video.search.encoder import Encoder
from side4video.search.folder import VideoFile
from side4video.search.index import FolderIndex
from side4video.search.rank import rank_videos


class Ranker:
    """A retrieval run that answers; nothing of what it was sent is kept."""

    def __init__(self, build: Callable[[], Encoder], *, limit_seconds: float, processes: int) -> None:
        """Build the encoder.

        Args:
            build: Makes it.
            limit_seconds: To read one video.
            processes: That read them.

        Raises:
            InputError: It cannot be built.
        """
        self.encoder = build()
        self._crew, self._limit_seconds = Crew(processes), limit_seconds

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The ranking of each question's videos."""
        return [self._rank(question) for question in questions]

    def close(self) -> None:
        """End the processes that read."""
        self._crew.__exit__()

    def _rank(self, question: Question) -> Answer:
        try:
            asked = self.encoder.read(question.text)
        except InputError as error:
            return Answer({"error": f"{error.found}: say what is to be seen"}, 422)
        names = {Path(path).name: name for path, name in zip(question.paths, question.names, strict=True)}
        files = [VideoFile(Path(path).name, 0, 0) for path in question.paths]
        seen = list(self.encoder.look(Path(question.paths[0]).parent, files, prefetch=self._prefetch))
        known = FolderIndex().with_all(seen)
        broken = [{"video": names[each.file.name], "error": each.reason} for each in known.broken]
        if not known.entries:
            return Answer({"error": broken[0]["error"], "broken": broken}, 422)
        found = rank_videos(self.encoder.matching, asked.kept, known, top=question.top, process=self.encoder.process)
        ranking = [{"rank": e.rank, "video": names[e.entry.file.name], "score": e.score} for e in found]
        return Answer({"text": question.text, "ranking": ranking, "broken": broken})

    def _prefetch(self, reader: Any, spec: object) -> CrewPrefetcher:  # noqa: ARG002 - the crew stands for the loader
        return CrewPrefetcher(reader, self._crew, limit_seconds=self._limit_seconds)
