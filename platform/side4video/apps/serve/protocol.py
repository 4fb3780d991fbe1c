"""The messages between the server and the replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class PredictRequest:
    """A request about uploaded videos."""

    paths: tuple[str, ...]
    """Files on this machine."""
    names: tuple[str, ...]
    """Names that the client gave to them."""
    top: int
    """Number of answers, best first."""
    text: str = ""
    """The query of a search; empty for labels."""
    threshold: float | None = None
    """The least score of a label; None: any."""


@dataclass(frozen=True)
class PredictResponse:
    """The body and status of the HTTP response."""

    document: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    status: int = 200
    """415 if a file is no video, 422 if it is a video that cannot be decoded."""


class Predictor(Protocol):
    """A model that answers several requests at once."""

    def answer(self, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
        """One response for each request, in order."""
        ...

    def close(self) -> None:
        """End its worker processes."""
        ...
