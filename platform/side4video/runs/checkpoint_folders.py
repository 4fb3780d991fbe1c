"""Where runs keep their checkpoints, also after their home was moved."""

import json
import os
from contextlib import suppress
from pathlib import Path

from side4video.core.paths import expand, home
from side4video.data.storage import is_remote
from side4video.spec.experiment import Experiment

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of a run's checkpoints, in its folder."""


def storage_root(spec: Experiment) -> str:
    """The absolute folder or the URI of all runs' checkpoints, without a trailing slash."""
    storage = expand(spec.cluster.storage, "cluster.storage")
    if not storage:
        return str(home() / "runs")
    return storage.rstrip("/") if is_remote(storage) else os.path.abspath(storage)  # noqa: PTH100 - links are kept


def kept_text(folder: str) -> str:
    """What a run that is stopped now leaves to continue from: the epoch and the step of its newest checkpoint.

    `folder` is the run's folder for checkpoints, or its URI, which is not looked at.
    """
    from side4video.engine.checkpoint import checkpoints_in  # it imports torch

    if is_remote(folder):
        return f"kept: the newest checkpoint in {folder}"
    registered = _registered(Path(folder) / SNAPSHOT)
    for checkpoint in checkpoints_in(Path(folder)):
        if registered is not None and checkpoint.name not in registered:
            continue  # written when the workers were ended: Ray Train does not know it, and continues from an older one
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads((checkpoint / "checkpoint.json").read_bytes())
            return f"kept: the checkpoint of epoch {state['epoch'] + 1}, step {state['next_step']}"
    return "nothing is kept: there is no checkpoint yet"


def _registered(snapshot: Path) -> set[str] | None:
    """The names of the checkpoints in Ray Train's list; None without a list, or if it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return {each["checkpoint_dir_name"] for each in json.loads(snapshot.read_bytes())["checkpoint_results"]}
    return None


def moved_folder(recorded: str, root: str) -> str:
    """A run's folder for checkpoints below `root` if it is there, else where it was recorded.

    Names of these folders are unique, so one of the same name below the storage of a moved or copied home is the run's.
    """
    here = f"{root}/{recorded.rstrip('/').rpartition('/')[2]}"
    return here if not is_remote(root) and Path(here).is_dir() else recorded
