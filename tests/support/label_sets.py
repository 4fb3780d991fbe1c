"""A small list whose clips have one label, several labels, and a label of each of two heads."""

import csv
from pathlib import Path

import yaml

from tiny import DOCUMENT, merged
from video_sets import make_list

COLUMNS = {"columns": {"labels": "tags"}, "label_columns": {"verb": "verb_class", "noun": "noun_class"}}
TAGS = ("falling;fast", "", "rising", "fast;rising;slow", "slow", "falling;slow")
VERBS, NOUNS = ("take", "put", "wash"), ("cup", "plate")
TASKS = {
    "one": {"kind": "recognition"},
    "several": {"kind": "multi-label", "loss": "asymmetric", "dropout": 0.2},
    "heads": {"kind": "multi-head", "dropout": 0.2},
}


def make_labelled_list(folder: Path, **options) -> dict[str, object]:
    """The clips of `make_list` with the other columns beside; the document of the list."""
    document = make_list(folder, **options)
    path = Path(str(document["annotations"]))
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    more = [
        [TAGS[number % len(TAGS)], VERBS[number % len(VERBS)], NOUNS[number % len(NOUNS)]]
        for number in range(len(rows))
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [[*header, "tags", "verb_class", "noun_class"], *[[*a, *b] for a, b in zip(rows, more, strict=True)]]
        )
    return {**document, **COLUMNS}


def write_spec(path: Path, name: str, listed: dict[str, object]) -> None:
    """The experiment `name` of `TASKS` on the clips of `make_labelled_list`, as a file."""
    changes = {"name": name, "task": TASKS[name], "optimization": {"batch_size": 4}}
    path.write_text(yaml.safe_dump(merged(DOCUMENT, {**changes, "data": {"dataset": listed}})))
