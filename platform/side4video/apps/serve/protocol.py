"""What a server and the model behind it say to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class PredictRequest:
    """What somebody wants to know of videos that were sent."""

    paths: tuple[str, ...]
    """Where they lie on this machine."""
    names: tuple[str, ...]
    """What they are called."""
    top: int
    """How many of the best answers."""
    text: str = ""
    """What is searched for; empty where labels are asked for."""


@dataclass(frozen=True)
class PredictResponse:
    """What is said, in the words of HTTP."""

    document: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    status: int = 200
    """415 where a file is no video, 422 where it is one that cannot be read."""


class Predictor(Protocol):
    """A model that answers questions of several people at once."""

    def answer(self, questions: Sequence[PredictRequest]) -> list[PredictResponse]:
        """One answer each, in order."""
        ...

    def close(self) -> None:
        """End its processes."""
        ...
