"""Requests that wait while a PostgreSQL server restarts.

Writes are queued during an outage; a new run and an answer cannot be. MLflow's client of an HTTP server tries again for
such requests, and its SQL store does not.
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from side4video.tracking.mlflow.connection import ServerUnavailableError, was_reached
from side4video.tracking.redaction import redact_text

log = logging.getLogger(__name__)

RESTART_SECONDS = 60.0
"""How long a request waits for a database that this process has reached before.

A command that starts during an outage fails at once.
"""

RETRY_SECONDS = 0.5


class HasAddress(Protocol):
    """A store with requests that wait."""

    uri: str

    def flush(self) -> int:
        """Deliver queued writes; returns the number of those left."""
        ...


S = TypeVar("S", bound=HasAddress)
P = ParamSpec("P")
T = TypeVar("T")


def waits_for_restart(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Call a method again until the database is back, or `RESTART_SECONDS` are over. It must be idempotent."""

    @functools.wraps(method)
    def call(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = 0.0
        while True:
            try:
                if was_reached(store.uri) and store.flush():  # else the answer would lack what was written before
                    raise ServerUnavailableError("tracking: queued writes cannot be delivered")
                return method(store, *args, **kwargs)
            except ServerUnavailableError as error:
                now = time.monotonic()
                if not deadline:
                    if not was_reached(store.uri) or error.has_waited:
                        raise
                    deadline = now + RESTART_SECONDS
                    message = "the database %s is not reachable; waiting for it, up to %.0f s (%s)"
                    log.warning(message, redact_text(store.uri), RESTART_SECONDS, error)
                elif now >= deadline:
                    error.has_waited = True
                    raise
                time.sleep(RETRY_SECONDS)

    return call
