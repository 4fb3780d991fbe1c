"""The folder and the variables of the command, on Ray's workers.

The rule for paths of documents: a relative one begins in the folder that the command is called in, and `${NAME}` is a
variable of the command's environment. It is the same with `--local`, for `validate` and on every worker. The document
itself travels as it is written, so that its hash does not depend on a folder.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from side4video.core.errors import InputError
from side4video.core.paths import variables
from side4video.data.storage import is_relative
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class CommandFolder:
    """Where a command was called."""

    folder: str
    """Absolute path."""
    variables: Mapping[str, str]
    """The environment variables that paths of the documents contain, and their values there."""

    @classmethod
    def current(cls, experiments: Iterable[Experiment]) -> "CommandFolder":
        """Of this process."""
        texts = [text for spec in experiments for text in spec.paths().values()]
        names = dict.fromkeys(name for text in texts for name in variables(text))
        return cls(str(Path.cwd()), {name: os.environ[name] for name in names if os.environ.get(name)})

    def enter(self, experiments: Mapping[str, Experiment]) -> None:
        """Make paths of the documents mean in this process what they mean where the command was called.

        A variable that this machine sets itself keeps its value: its disks may be mounted elsewhere. A machine without
        the folder stays in its own, which for a submitted job is its copy of the job's files.

        Raises:
            InputError: The folder is not on this machine, nor is a file that a document names relative to it.
        """
        for name, value in self.variables.items():
            if not os.environ.get(name):
                os.environ[name] = value
        if Path(self.folder).is_dir() and os.access(self.folder, os.X_OK):
            os.chdir(self.folder)
            return
        for spec in experiments.values():
            for field, text in spec.paths().items():
                if text and is_relative(text) and not Path(text).exists():
                    raise InputError(
                        field,
                        f"{text} is relative to {self.folder}, a folder that {socket.gethostname()} does not have",
                        allowed="a path on a disk that all machines share, or an address such as s3://bucket/clips",
                        fix="write an absolute path, or call the command in a folder that every machine has",
                    )
