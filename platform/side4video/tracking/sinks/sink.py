"""The protocol of a place that shows runs beside the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from side4video.core.metric import Metric


@dataclass(frozen=True)
class RunHeader:
    """What is known of a run when it starts or continues. It holds no secrets."""

    run_id: str
    """The run's id in the store."""
    name: str
    parent: str
    """The id of the sweep's run; empty without a sweep."""
    params: Mapping[str, str]
    """The document, under dotted names."""
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RunEnd:
    """What is known of a run when it ends. It holds no secrets."""

    status: str
    """FINISHED, FAILED or KILLED."""
    description: str
    """Markdown."""
    tags: Mapping[str, str]
    artifacts: Sequence[str] = field(default_factory=tuple)
    """Names of the files that the store keeps. The files are not copied."""


class Sink(Protocol):
    """Shows runs. Any method may raise any error: a `Guard` turns it into a note of the run."""

    title: str
    """The place's name in messages."""

    def open(self, run: RunHeader, recorded: Sequence[Metric]) -> None:
        """Start a run, or continue it. Called in each process before other writes of the run.

        `recorded` are the metrics that the store has of the run. Those that are missing here are added.
        """
        ...

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Write metrics. Keys and steps that the run has already are left out, also those of other processes."""
        ...

    def close(self, run_id: str, end: RunEnd) -> None:
        """End a run."""
        ...

    def release(self) -> None:
        """Let another process write the open runs; `open` continues them here."""
        ...
