"""Labels for videos that strangers send: several questions are one batch, a bad file is its sender's affair alone."""

from collections.abc import Callable, Sequence
from typing import Any

from side4video.core.asking import Answer, Question
from side4video.core.crew import Crew
from side4video.data.crew_prefetch import CrewPrefetcher
from side4video.inference.model import Model, Prediction


class Labeller:
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
        self._crew, self._limit_seconds = Crew(processes), limit_seconds

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The labels of each question's one video."""
        found = self.model.predict(
            [question.paths[0] for question in questions],
            top=max(question.top for question in questions),
            prefetch=self._prefetch,
        )
        return [_say(question, each) for question, each in zip(questions, found, strict=True)]

    def close(self) -> None:
        """End the processes that read."""
        self._crew.__exit__()

    def _prefetch(self, reader: Any, spec: object) -> CrewPrefetcher:  # noqa: ARG002 - the crew stands for the loader
        return CrewPrefetcher(reader, self._crew, limit_seconds=self._limit_seconds)


def _say(question: Question, found: Prediction) -> Answer:
    name = question.names[0]
    if found.error:
        said = found.error if found.is_video else f"no video can be read in it: {found.error}"
        return Answer({"video": name, "error": said}, 422 if found.is_video else 415)
    return Answer({"video": name, "labels": [list(label) for label in found.labels[: question.top]]})
