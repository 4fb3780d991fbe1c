"""Predictions in a file, a row or a line each, written as they are made: CSV or JSON Lines, by the ending."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from side4video.core.csv_cells import text_cell
from side4video.core.errors import InputError
from side4video.core.files import replacing
from side4video.inference.model import Model
from side4video.inference.prediction import Prediction, split_scores

FORMATS = (".csv", ".jsonl")


def check_format(path: Path, option: str) -> None:
    """Check the ending.

    Raises:
        InputError: It is another one.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(option, f"{path.name}", allowed="a name that ends in .csv or .jsonl", fix=f"{path.stem}.csv")


def write_predictions(
    path: Path, predictions: Iterable[Prediction], model: Model, *, most: int
) -> Iterator[Prediction]:
    """Write each prediction and give it on; the file takes its name when all are written.

    CSV has the columns `video`, `error`, `label_1`, `score_1` up to `most`, and `score CLASS` for all classes. A line
    of JSON is a document with `video`, `error`, `labels` (pairs, best first) and `scores` by class. Of a video that
    cannot be read there is the error alone.

    Of a model with heads, labels are actions. CSV also has `HEAD prediction` and `HEAD score` of each head, and
    `HEAD score CLASS`; JSON has the labels of each head in `heads`, and `scores` by head and class.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        is_csv = path.suffix.lower() == ".csv"
        if is_csv:
            writer.writerow(_header(model, most=most))
        for each in predictions:
            if is_csv:
                writer.writerow(_row(each, model, most=most))
            else:
                file.write(json.dumps(_document(each, model), ensure_ascii=False) + "\n")
            yield each


def _header(model: Model, *, most: int) -> list[str]:
    ranked = [f"{name}_{rank}" for rank in range(1, most + 1) for name in ("label", "score")]
    of_heads = [f"{head} {name}" for head in model.heads for name in ("prediction", "score")]
    scored = [f"score {name}" for name in model.classes]
    scored += [f"{head} score {name}" for head, names in model.heads.items() for name in names]
    return ["video", "error", *ranked, *map(text_cell, (*of_heads, *scored))]


def _row(each: Prediction, model: Model, *, most: int) -> list[str]:
    labels = [cell for label, score in each.labels for cell in (text_cell(label), f"{score:.6f}")]
    labels += [""] * (2 * most - len(labels))
    if each.scores is None:
        return [text_cell(each.video), text_cell(each.error), *labels]
    parts = split_scores(each.scores, model.heads) if model.heads else []
    for names, scores_C in zip(model.heads.values(), parts, strict=True):
        best = int(scores_C.argmax())
        labels += [text_cell(names[best]), f"{scores_C[best]:.6f}"]
    return [text_cell(each.video), text_cell(each.error), *labels, *(f"{score:.6f}" for score in each.scores)]


def _document(each: Prediction, model: Model) -> dict[str, Any]:
    document = {"video": each.video, "error": each.error, "labels": each.labels}
    if not model.heads:
        scores = [] if each.scores is None else each.scores.tolist()
        return {**document, "scores": dict(zip(model.classes, scores, strict=False))}
    parts = [] if each.scores is None else split_scores(each.scores, model.heads)
    scored = {
        head: dict(zip(names, scores_C.tolist(), strict=True))
        for (head, names), scores_C in zip(model.heads.items(), parts, strict=False)
    }
    return {**document, "heads": dict(each.head_labels), "scores": scored}
