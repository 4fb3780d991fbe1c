"""A run from the store, for a command that asks something of it: its document and its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment


@dataclass(frozen=True)
class FinishedRun:
    """A run and its document."""

    run_id: str
    name: str
    source: str
    """The run that holds what this one recorded: another one, where this one took its result over."""
    spec: Experiment

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"run {self.run_id[:8]}"


def find_finished(store: Any, run: str, folder: Path, overrides: tuple[str, ...] = ()) -> FinishedRun:
    """The run of an id, the beginning of one, or a name.

    Raises:
        InputError: There is none, or its document is no longer understood.
    """
    from side4video.tracking.tags import REUSED_TAG

    run_info = store.find(run)
    source = run_info.tags.get(REUSED_TAG, run_info.run_id)
    document = json.loads(store.download(source, "spec.json", folder).read_text(encoding="utf-8"))
    for override in overrides:
        apply_override(document, override)
    spec = parse_experiment(document, source=f"run {run_info.run_id[:8]}")
    return FinishedRun(run_info.run_id, run_info.name, source, spec)


def fetch_weights(store: Any, run: FinishedRun, folder: Path, weights: str) -> Path:
    """The file of the `best` or the `last` weights, copied below a folder.

    Raises:
        InputError: The run has none.
    """
    from side4video.engine.epoch_callback import BEST, LAST_AVERAGE

    checkpoint = store.download(run.source, "checkpoint", folder)
    # A checkpoint holds one student here, whatever it was called among those it was trained with.
    students = [folder for folder in checkpoint.iterdir() if folder.is_dir()]
    names = (BEST,) if weights == "best" else (LAST_AVERAGE, "weights.safetensors")
    for file in (folder / name for folder in students[:1] for name in names):
        if file.is_file():
            return file
    raise InputError(run.where, f"has no {weights} weights", fix="take another run, or run it again")


def fetch_trained(store: Any, name: str, folder: Path) -> tuple[FinishedRun, Path, str]:
    """A run, the file of its best weights, and the fingerprint of the tower that they were trained on.

    Args:
        store: Where the run is.
        name: Its id, the beginning of one, or its name.
        folder: Where to copy files.

    Raises:
        InputError: There is no such run, or it has no weights.
    """
    run = find_finished(store, name, folder)
    return run, fetch_weights(store, run, folder, "best"), store.get(run.source).tags.get("backbone_sha256", "")
