"""A run from the store, for a command that asks something of it: its document and its weights."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment

if TYPE_CHECKING:
    from side4video.inference.bundle import Bundle

FIGURES = ("best/top1", "eval/top1", "eval/top5", "eval/mean_class_accuracy", "eval/loss", "eval/videos")
"""What a model card shows of a run."""


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
    from side4video.tracking.ledger import REUSED_TAG

    record = store.find(run)
    source = record.tags.get(REUSED_TAG, record.run_id)
    document = json.loads(store.download(source, "spec.json", folder).read_text(encoding="utf-8"))
    for override in overrides:
        apply_override(document, override)
    spec = parse_experiment(document, source=f"run {record.run_id[:8]}")
    return FinishedRun(record.run_id, record.name, source, spec)


def fetch_weights(store: Any, run: FinishedRun, folder: Path, weights: str) -> Path:
    """The file of the `best` or the `last` weights, copied below a folder.

    Raises:
        InputError: The run has none.
    """
    from side4video.engine.recorder import BEST, LAST_AVERAGE

    checkpoint = store.download(run.source, "checkpoint", folder)
    # A checkpoint holds one student here, whatever it was called among those it was trained with.
    students = [place for place in checkpoint.iterdir() if place.is_dir()]
    names = (BEST,) if weights == "best" else (LAST_AVERAGE, "weights.safetensors")
    for file in (place / name for place in students[:1] for name in names):
        if file.is_file():
            return file
    raise InputError(run.where, f"has no {weights} weights", fix="take another run, or run it again")


def bundle_run(
    store: Any, run: str, folder: Path, *, weights: str, with_backbone: bool
) -> "tuple[FinishedRun, Bundle]":
    """Write a run into a folder (`inference.bundle`); the run, and what the bundle says of itself.

    Args:
        store: Where the run is.
        run: Its id, the beginning of one, or its name.
        folder: Where to; it must not be there, or be empty.
        weights: `best` or `last`.
        with_backbone: Whether the frozen tower lies beside the weights.

    Raises:
        InputError: There is no such run, its task is another one, or the folder holds something.
    """
    from side4video.inference.bundle import Bundle, model_card, write_bundle
    from side4video.tracking.journal import FINGERPRINT_TAG

    with tempfile.TemporaryDirectory(prefix="side4video-") as scratch:
        found = find_finished(store, run, Path(scratch))
        if found.spec.task.kind != "recognition":
            raise InputError(found.where, f"its task is {found.spec.task.kind}", allowed="recognition")
        record = store.get(found.source)
        bundle = Bundle(
            name=found.name,
            classes=found.spec.data.dataset.classes(),
            backbone_sha256=record.tags.get("backbone_sha256", ""),
            figures=dict(record.metrics),
            origin={
                "run": found.run_id,
                "data set": found.spec.data.dataset.kind,
                "data fingerprint": record.tags.get(FINGERPRINT_TAG, ""),
                "commit": record.tags.get("commit", ""),
                "weights": weights,
            },
        )
        written = write_bundle(
            folder,
            bundle,
            found.spec,
            fetch_weights(store, found, Path(scratch), weights),
            card=model_card(bundle, found.spec, figures=FIGURES),
            backbone=found.spec.backbone.read_weights() if with_backbone else None,
        )
    return found, written
