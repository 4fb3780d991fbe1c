"""Checks the folders of a tracking section before anything starts: that their paths can be read on this machine."""

from side4video.core.paths import expand
from side4video.spec.tracking import FilesTrackingSpec, Sink, Tracking

FOLDER = "tracking.folder"


def check_folders(spec: Tracking) -> None:
    """Check the folders of the section and of its further places, before anything starts. Nothing is written.

    Raises:
        InputError: One names an environment variable that is not set.
    """
    if isinstance(spec, FilesTrackingSpec):
        expand(spec.folder, FOLDER)
    for number, sink in enumerate(spec.also):
        sink_folder(sink, number)


def sink_folder(spec: Sink, number: int) -> str:
    """The folder of the place at a position of `tracking.also`; empty for the default.

    Raises:
        InputError: It names an environment variable that is not set.
    """
    return expand(spec.folder, f"tracking.also.{number}.folder")
