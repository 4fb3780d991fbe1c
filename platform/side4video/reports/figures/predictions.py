"""What a run said of each held-out video, read back from the store."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from side4video.core.csv_cells import csv_rows
from side4video.core.errors import InputError
from side4video.tracking.run_store import RunStore, StoredRun, artifact_text
from side4video.tracking.tags import FINGERPRINT_TAG, STATE_TAG, WEIGHTS_TAG

PREDICTIONS = "predictions.csv"
CLASS_ACCURACY = "class_accuracy.json"
_PREDICTED = {"multi-label": "any number of classes a video", "multi-head": "a class of each head"}


@dataclass(frozen=True)
class Prediction:
    """One held-out video."""

    index: int
    """Its place in the list of clips."""
    label: str
    guess: str
    """The class of the highest score."""
    score: float = math.nan
    """The probability of `guess`."""

    @property
    def is_right(self) -> bool:
        """Whether the guess is the label."""
        return self.guess == self.label


@dataclass(frozen=True)
class Predictions:
    """Those of a run, of the last epoch that was evaluated; videos without a label are not among them."""

    videos: tuple[Prediction, ...]
    classes: tuple[str, ...]
    """In the data set's order those that have a label; what was only guessed behind them, by name."""

    @property
    def accuracy(self) -> float:
        """Share of right videos."""
        return sum(video.is_right for video in self.videos) / len(self.videos)


def read_predictions(store: RunStore, run: StoredRun) -> Predictions:
    """The predictions of a run of action recognition.

    Raises:
        InputError: It is no such run, or has none.
    """
    where = f"run {run.name} ({run.run_id[:8]})"
    if run.params.get("task.kind", "recognition") != "recognition":
        kind = run.params["task.kind"]
        has = _PREDICTED.get(kind, "no classes")
        found = f"is of {kind}, and its predictions are of {has}"
        raise InputError(where, found, allowed="a run of action recognition", fix="name another run")
    text = artifact_text(store, run.run_id, PREDICTIONS, default="")
    videos = parse_predictions(text)
    if not videos:
        state = run.tags.get(STATE_TAG, run.status.lower())
        fix = (
            "let it finish: side4video run SPEC --resume"
            if state != "finished"
            else "run it again: side4video run SPEC"
        )
        found = f"has no predictions ({state})" if not text else "has predictions of no video with a label"
        raise InputError(where, found, allowed="a run that was evaluated", fix=fix)
    order = json.loads(artifact_text(store, run.run_id, CLASS_ACCURACY, default="{}"))
    return Predictions(videos, _classes(videos, list(order)))


def zero_shot_run(store: RunStore, run: StoredRun) -> StoredRun:
    """The newest finished zero-shot run of action recognition on a run's data and backbone.

    Raises:
        InputError: There is none.
    """
    tags = {"method": "zero-shot", STATE_TAG: "finished", FINGERPRINT_TAG: run.tags.get(FINGERPRINT_TAG, "")}
    found = store.runs(tags=tags, all_experiments=True)
    of_classes = [each for each in found if each.params.get("task.kind") == "recognition"]
    if not of_classes:
        raise InputError(
            "--against zero-shot",
            f"no zero-shot run on the data of {run.name} ({run.run_id[:8]}) has finished",
            fix="make one: side4video run SPEC --set 'method={kind: zero-shot}' --set 'optimization.length={steps: 1}' "
            """--set 'optimization.warmup={steps: 0}' --set 'task.classifier={kind: text, prompt: "a video of {}"}'; """
            "or name another run",
        )
    backbone = run.tags.get(WEIGHTS_TAG)
    return next((each for each in of_classes if each.tags.get(WEIGHTS_TAG) == backbone), of_classes[0])


def parse_predictions(text: str) -> tuple[Prediction, ...]:
    """The labelled videos of the text of `predictions.csv`, by index."""
    rows = csv_rows(text)
    found = [
        Prediction(int(row["index"]), row["label"], row["prediction"], float(row.get("score") or math.nan))
        for row in rows
        if row["label"]
    ]
    return tuple(sorted(found, key=lambda each: each.index))


def _classes(videos: Sequence[Prediction], order: Sequence[str]) -> tuple[str, ...]:
    labels = {video.label for video in videos}
    known = [name for name in order if name in labels]
    guessed = {video.guess for video in videos} - labels
    return (*known, *sorted(labels - set(known)), *sorted(guessed))
