"""Checks that the packages behind `tracking.also` are installed, before anything starts."""

from importlib.util import find_spec

from side4video.core.errors import InputError
from side4video.spec.tracking import Tracking


def check_sinks(tracking: Tracking) -> None:
    """Check that the package of each place in `tracking.also` is installed here. Nothing is imported.

    Raises:
        InputError: One is not.
    """
    for number, sink in enumerate(tracking.also):
        if find_spec(sink.kind) is None:
            raise InputError(
                f"tracking.also.{number}",
                f"the package {sink.kind} is not installed here",
                fix=f"pip install 'side4video[{sink.kind}]', or remove this entry",
            )
