"""Recognises the annotation files of known data sets by their names, and finds their videos."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from side4video.apps.init.found_data import VIDEO_ENDINGS, FoundData, TaskKind, absolute_text, read_dataset
from side4video.apps.init.video_places import places, probes
from side4video.core.errors import InputError
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.missing_files import KeepSpec
from side4video.data.annotations.tables import read_text
from side4video.data.clip import Clip
from side4video.data.datasets import Dataset
from side4video.data.storage import relative_path

FILES: Mapping[str, tuple[str, ...]] = {
    "msr-vtt": ("MSRVTT_data.json", "MSRVTT_JSFUSION_test.csv"),
    "msvd": ("raw-captions.pkl", "train_list.txt", "test_list.txt"),
    "vatex": ("vatex_training_v1.0.json", "train_list.txt", "test_list.txt"),
    "didemo": ("train_data.json", "test_data.json"),
    "kinetics": ("train.csv", "val.csv"),
    "something-something-v2": (
        "something-something-v2-train.json",
        "something-something-v2-validation.json",
        "something-something-v2-labels.json",
    ),
    "something-something-v1": (
        "something-something-v1-train.csv",
        "something-something-v1-validation.csv",
        "something-something-v1-labels.csv",
    ),
    "ucf101": ("classInd.txt", "trainlist01.txt", "testlist01.txt"),
    "hmdb51": ("brush_hair_test_split1.txt", "wave_test_split1.txt"),
    "diving48": ("Diving48_V2_train.json", "Diving48_V2_test.json", "Diving48_vocab.json"),
    "jester": ("jester-v1-train.csv", "jester-v1-validation.csv", "jester-v1-labels.csv"),
    "coin": ("COIN.json",),
    "lsmdc": ("LSMDC16_annos_training.csv", "LSMDC16_challenge_1000_publictect.csv"),
    "activitynet-captions": ("train.json", "val_1.json"),
}
"""By kind: the files by which it is recognised, all in one folder."""
KINDS: tuple[str, ...] = tuple(each.model_fields["kind"].default for each in get_args(get_args(Dataset)[0]))
"""All kinds of data sets."""
_MSRVTT_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_KINETICS_HEADER = "label,youtube_id,time_start,time_end"


def split_kind(source: str) -> tuple[str, str]:
    """The kind and the path of `KIND:PATH`; an empty kind if the source is a path alone."""
    kind, colon, path = source.partition(":")
    if colon and kind in KINDS and path and not Path(source).exists():
        return kind, path
    return "", source


def recognise_known_set(folder: Path) -> tuple[str, Path]:
    """The kind of data set whose annotations are in a folder, or in its folder `annotations`; and their folder.

    Returns:
        An empty kind if there is none, or if there are several.
    """
    for place in (folder, folder / "annotations", folder / "labels"):
        kinds = [kind for kind, files in FILES.items() if all((place / name).is_file() for name in files)]
        if "kinetics" in kinds and not _is_kinetics(place):
            kinds.remove("kinetics")
        if len(kinds) == 1:
            return kinds[0], place
    return "", folder


def _is_kinetics(folder: Path) -> bool:
    try:
        return all(read_text(folder / name).replace('"', "").startswith(_KINETICS_HEADER) for name in FILES["kinetics"])
    except InputError:
        return False


def find_known_set(kind: str, annotations: Path, *, given: Mapping[str, Any], text: str = "") -> FoundData:
    """The data set of a kind, with its videos.

    Args:
        kind: One of `KINDS` that has files of its own.
        annotations: The folder of its annotations.
        given: What the user has set of `data.dataset`.
        text: The folder as the user wrote it.

    Raises:
        InputError: The annotations cannot be read, or none of its videos is found.
    """
    document: dict[str, Any] = {"kind": kind}
    fields = _member(kind).model_fields
    document["annotations" if "annotations" in fields else "root"] = absolute_text(annotations, text)
    if kind == "msr-vtt" and not (annotations / "MSRVTT_train.9k.csv").is_file():
        document["train"] = "7k"
    notes: list[str] = []
    if "annotations" in fields:
        notes += _add_videos(document, annotations, given)
    spec = read_dataset({**document, **given})
    task: TaskKind = "recognition" if spec.classes() else "retrieval"
    return FoundData(
        what=f"the data set {kind}",
        dataset=document,
        task=task,
        place=annotations.parent if annotations.name in ("annotations", "labels") else annotations,
        is_divided=True,
        split_text="as in the files of the data set",
        notes=notes,
    )


def _member(kind: str) -> Any:
    """The class of a kind's document."""
    return next(each for each in get_args(get_args(Dataset)[0]) if each.model_fields["kind"].default == kind)


def _add_videos(document: dict[str, Any], annotations: Path, given: Mapping[str, Any]) -> list[str]:
    """Add `root` to a document, and `missing_videos` if some are not there; returns what a user should know."""
    spec = read_dataset({**document, **given}).model_copy(update={"missing_videos": KeepSpec()})
    listed = {split: spec.clips(split) for split in spec.splits()}
    clips = [clip for each in listed.values() for clip in each]
    names = [relative_path(clip.path, spec._root()) for clip in clips]
    found = [Path(spec._root())] if given.get("root") else places(annotations.absolute())
    some = probes(len(names))
    counts = [sum(_exists(clips[number], place / names[number]) for number in some) for place in found]
    best = found[counts.index(max(counts))]
    missing = sum(not _exists(clip, best / name) for clip, name in zip(clips, names, strict=True))
    if missing == len(clips):
        raise InputError(
            str(annotations),
            f"none of the {len(clips)} listed videos is there; the first is {names[0]!r}",
            fix="say where they are: --set data.dataset.root=FOLDER",
        )
    if best != annotations.absolute() and not given.get("root"):
        document["root"] = absolute_text(best)
    if not missing:
        return []
    document["missing_videos"] = {"kind": "skip"}
    return [f"{missing} of {len(clips)} listed videos are not in {best} and are left out"]


def _exists(clip: Clip, path: Path) -> bool:
    return os.path.isdir(path) if clip.frame_pattern else os.path.isfile(path)  # noqa: PTH112, PTH113 - many


def find_in_msrvtt_file(path: Path, given: Mapping[str, Any]) -> FoundData | None:
    """The videos of `MSRVTT_data.json` alone, divided as the file says; None if it is another file.

    Raises:
        InputError: None of its videos is found, or the file is damaged.
    """
    document = read_json(path)
    if not isinstance(document, dict) or not {"videos", "sentences"} <= document.keys():
        return None
    captions: dict[str, list[str]] = {}
    for position, entry in enumerate(as_list(document["sentences"], f"{path}:sentences")):
        origin = f"{path}:sentences[{position}]"
        entry = as_object(entry, origin, ("video_id", "caption"))
        captions.setdefault(as_text(entry["video_id"], origin), []).append(as_text(entry["caption"], origin))
    rows = []
    for position, entry in enumerate(as_list(document["videos"], f"{path}:videos")):
        entry = as_object(entry, f"{path}:videos[{position}]", ("video_id", "split"))
        split = _MSRVTT_SPLITS.get(str(entry["split"]))
        if split and entry["video_id"] in captions:
            rows.append({"path": entry["video_id"], "caption": captions[entry["video_id"]], "split": split})
    if given.get("root"):
        found = [Path(os.path.expandvars(str(given["root"]))).expanduser().absolute()]
    else:
        found = places(path.absolute().parent)
    root, ending, there = _best_place(found, [row["path"] for row in rows])
    if not there:
        raise InputError(
            str(path),
            f"none of the {len(rows)} videos with captions is there"
            + (f"; the first is {rows[0]['path']}.mp4" if rows else ""),
            fix="say where they are: --set data.dataset.root=FOLDER",
        )
    notes = [
        "MSRVTT_JSFUSION_test.csv and MSRVTT_train.9k.csv are not beside it, so the file's own split is used; results "
        "are not comparable with papers that use 1k-A"
    ]
    dataset: dict[str, Any] = {"kind": "captions", "root": absolute_text(root)}
    if there < len(rows):
        notes.append(f"{len(rows) - there} of {len(rows)} listed videos are not in {root} and are left out")
        dataset["missing_videos"] = {"kind": "skip"}
    return FoundData(
        what=f"the captions of MSR-VTT ({path.name})",
        dataset=dataset,
        task="retrieval",
        place=path,
        is_divided=True,
        split_text=f"as in {path.name}",
        new_list=[{**row, "path": f"{row['path']}{ending}"} for row in rows],
        notes=notes,
    )


def _best_place(folders: Sequence[Path], names: Sequence[str]) -> tuple[Path, str, int]:
    """Folder and ending with most videos, and how many they are."""
    found = [
        (sum((place / f"{name}{ending}").is_file() for name in names), -number, place, ending)
        for number, place in enumerate(folders)
        for ending in VIDEO_ENDINGS[:4]
    ]
    there, _, place, ending = max(found, key=lambda each: each[:2])
    return place, ending, there
