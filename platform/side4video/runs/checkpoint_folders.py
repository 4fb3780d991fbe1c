"""Where runs keep their checkpoints, also after their home was moved."""

import os
from pathlib import Path

from side4video.core.paths import expand, home
from side4video.data.storage import is_remote
from side4video.spec.experiment import Experiment


def storage_root(spec: Experiment) -> str:
    """The absolute folder or the URI of all runs' checkpoints, without a trailing slash."""
    storage = expand(spec.cluster.storage, "cluster.storage")
    if not storage:
        return str(home() / "runs")
    return storage.rstrip("/") if is_remote(storage) else os.path.abspath(storage)  # noqa: PTH100 - links are kept


def moved_folder(recorded: str, root: str) -> str:
    """A run's folder for checkpoints below `root` if it is there, else where it was recorded.

    Names of these folders are unique, so one of the same name below the storage of a moved or copied home is the run's.
    """
    here = f"{root}/{recorded.rstrip('/').rpartition('/')[2]}"
    return here if not is_remote(root) and Path(here).is_dir() else recorded
