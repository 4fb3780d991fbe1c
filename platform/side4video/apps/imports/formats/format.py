"""What a format of checkpoints is."""

from collections.abc import Callable
from dataclasses import dataclass

from side4video.apps.imports.pairs import FileShapes, Reading


@dataclass(frozen=True)
class ImportFormat:
    """The checkpoints of one system."""

    name: str
    """How the command calls it."""
    title: str
    """What it is, for people."""
    repository: str
    """The repository whose names its tensors have."""
    mark: str
    """The end of the name of a tensor that only its files have. What stands in front of it is the training loop's."""
    read: Callable[[FileShapes], Reading]
    """Reads document and names off the shapes of a file."""
    beside: str = ""
    """The key of a second state in the files; its names get the key and a dot in front."""
