"""Arguments that name a run or a spec: a file, else a run of the store, else a preset."""

from pathlib import Path
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.spec.presets import is_preset

if TYPE_CHECKING:
    from side4video.tracking.run_store import RunStore, StoredRun


def names_a_file(name: str) -> bool:
    """Whether a name can be no run's: it is a file, or written as a path."""
    return "/" in name or name.endswith((".yaml", ".yml")) or Path(name).is_file()


def find_run(store: "RunStore", name: str) -> "StoredRun | None":
    """The run of a name; None if the name is that of a file, or of a preset of which the store has no run.

    Raises:
        InputError: No run and no preset has this name.
    """
    if names_a_file(name):
        return None
    try:
        return store.find(name)
    except InputError:
        if is_preset(name):
            return None
        raise
