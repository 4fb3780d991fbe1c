"""Small data sets of videos with captions, written in the original format of each."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from side4video.data.datasets import Dataset

Captions = dict[str, list[str]]

TRAIN: Captions = {"video2": ["a cat runs", "the cat is fast"], "video10": ["two dogs, one ball"]}
TEST: Captions = {"video7": ["rain falls"], "video1": ["a man sings"]}

FORMS = (
    "msr-vtt",
    "msvd",
    "msvd.json",
    "vatex",
    "vatex.dict",
    "didemo",
    "captions.csv",
    "captions.json",
    "captions.jsonl",
)
"""A kind, and after a dot which of its file formats."""
EXTENSIONS = {"msvd": ".avi"}


def dataset(fields: dict[str, Any]) -> Any:
    return TypeAdapter(Dataset).validate_python(fields)


def write(form: str, folder: Path, train: Captions = TRAIN, test: Captions = TEST, **fields: Any) -> Any:
    """Write the annotations of a set."""
    kind = form.partition(".")[0]
    return dataset({"kind": kind, "annotations": str(folder), **WRITERS[kind](form, folder, train, test), **fields})


def make(form: str, folder: Path, train: Captions = TRAIN, test: Captions = TEST, **fields: Any) -> Any:
    """Write the annotations of a set, and an empty file for each of its videos."""
    for name in {**train, **test}:
        touch(folder, name + EXTENSIONS.get(form.partition(".")[0], ".mp4"))
    return write(form, folder, train, test, **fields)


def touch(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def expected(form: str, captions: list[str]) -> tuple[str, ...]:
    return (" ".join(captions),) if form == "didemo" else tuple(captions)


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _msr_vtt(form: str, folder: Path, train: Captions, test: Captions) -> dict[str, Any]:
    # As in the original: captions of all videos in one list, and not video by video.
    longest = max(len(captions) for captions in train.values())
    turns = [(name, captions[n]) for n in range(longest) for name, captions in train.items() if n < len(captions)]
    sentences = [{"caption": text, "video_id": name, "sen_id": n} for n, (name, text) in enumerate(turns)]
    videos = [{"video_id": name, "category": 9, "split": "train", "id": n} for n, name in enumerate(train)]
    write_json(folder / "MSRVTT_data.json", {"info": {"year": "2016"}, "videos": videos, "sentences": sentences})
    write_csv(folder / "MSRVTT_train.9k.csv", [["video_id"], *([name] for name in train)])
    rows = [[f"ret{n}", f"msr{n}", name, captions[0]] for n, (name, captions) in enumerate(test.items())]
    write_csv(folder / "MSRVTT_JSFUSION_test.csv", [["key", "vid_key", "video_id", "sentence"], *rows])
    return {}


def _lists(folder: Path, train: Captions, test: Captions) -> None:
    # The last line has no end, as in the original of MSVD.
    (folder / "train_list.txt").write_text("\n".join(train))
    (folder / "test_list.txt").write_text("\n".join(test))


def _msvd(form: str, folder: Path, train: Captions, test: Captions) -> dict[str, Any]:
    _lists(folder, train, test)
    if form == "msvd.json":
        write_json(folder / "captions.json", {**test, **train})
        return {"captions": "captions.json"}
    words = {name: [text.split(" ") for text in captions] for name, captions in {**test, **train}.items()}
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps(words, protocol=2))
    return {}


def _vatex(form: str, folder: Path, train: Captions, test: Captions) -> dict[str, Any]:
    _lists(folder, train, test)
    if form == "vatex.dict":
        write_json(folder / "vatex_data.json", {name: {"enCap": texts} for name, texts in {**test, **train}.items()})
        return {"captions": ["vatex_data.json"]}
    for name, part in (("training", train), ("validation", test)):
        entries = [{"videoID": key, "enCap": texts, "chCap": ["一只猫"]} for key, texts in part.items()]
        write_json(folder / f"vatex_{name}_v1.0.json", entries)
    return {}


def _didemo(form: str, folder: Path, train: Captions, test: Captions) -> dict[str, Any]:
    for name, part in (("train", train), ("test", test)):
        entries = [
            {
                "annotation_id": n,
                "video": f"{key}.mp4",
                "description": text,
                "times": [[0, 0], [0, 1]],
                "num_segments": 6,
            }
            for key, texts in part.items()
            for n, text in enumerate(texts)
        ]
        write_json(folder / f"{name}_data.json", entries)
    return {}


def _captions(form: str, folder: Path, train: Captions, test: Captions) -> dict[str, Any]:
    path = folder / form
    entries = [
        {"video": f"{key}.mp4", "captions": texts, "split": split}
        for split, part in (("train", train), ("test", test))
        for key, texts in part.items()
    ]
    if path.suffix == ".json":
        write_json(path, entries)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries), encoding="utf-8")
    else:
        rows = [[entry["video"], text, entry["split"]] for entry in entries for text in entry["captions"]]
        write_csv(path, [["path", "caption", "split"], *rows])
    return {"annotations": str(path)}


WRITERS = {"msr-vtt": _msr_vtt, "msvd": _msvd, "vatex": _vatex, "didemo": _didemo, "captions": _captions}
