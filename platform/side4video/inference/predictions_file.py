"""Predictions in a file, a row or a line each, written as they are made: CSV or JSON Lines, by the ending."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from side4video.core.csv_cells import text_cell
from side4video.core.errors import InputError
from side4video.core.files import replacing
from side4video.inference.model import Prediction

FORMATS = (".csv", ".jsonl")


def check_format(path: Path, option: str) -> None:
    """Check the ending.

    Raises:
        InputError: It is another one.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(option, f"{path.name}", allowed="a name that ends in .csv or .jsonl", fix=f"{path.stem}.csv")


def write_predictions(
    path: Path, predictions: Iterable[Prediction], classes: Sequence[str], *, top: int
) -> Iterator[Prediction]:
    """Write each prediction and give it on; the file takes its name when all are written.

    CSV has the columns `video`, `error`, `label_1`, `score_1` up to `top`, and `score CLASS` for all classes. A line of
    JSON is a document with `video`, `error`, `labels` (pairs, best first) and `scores` by class. Of a video that cannot
    be read there is the error alone.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        is_csv = path.suffix.lower() == ".csv"
        if is_csv:
            ranked = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("label", "score")]
            writer.writerow(["video", "error", *ranked, *(text_cell(f"score {name}") for name in classes)])
        for each in predictions:
            if is_csv:
                writer.writerow(_row(each, top=top))
            else:
                scores = [] if each.scores is None else each.scores.tolist()
                document = {"video": each.video, "error": each.error, "labels": each.labels}
                document["scores"] = dict(zip(classes, scores, strict=False))
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
            yield each


def _row(each: Prediction, *, top: int) -> list[str]:
    labels = [cell for label, score in each.labels for cell in (text_cell(label), f"{score:.6f}")]
    scores = [] if each.scores is None else [f"{score:.6f}" for score in each.scores]
    return [text_cell(each.video), text_cell(each.error), *labels, *[""] * (2 * top - len(labels)), *scores]
