"""Recognises data sets in lists of videos: what is a label, a caption, a split, a group, and where the videos are."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side4video.apps.init.found_data import FoundData, TaskKind, absolute_text
from side4video.apps.init.list_columns import Role, VideoList, names_videos, read_list, recognise
from side4video.apps.init.list_records import check_records
from side4video.apps.init.video_folders import MIN_GROUPS, TEST_NAMES, TRAIN_NAMES, VAL_NAMES
from side4video.apps.init.video_places import places, probes
from side4video.core.errors import InputError
from side4video.data.annotations.tables import shorten_list
from side4video.data.storage import common_root

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".lst")
"""Of files in a folder that may be lists."""
_SPLITS = {"train", "val", "validation", "valid", "test"}


def find_in_list(path: Path, *, task: TaskKind | None, given: Mapping[str, Any], text: str = "") -> FoundData:
    """The data set that a list describes.

    Args:
        path: The list.
        task: What it is to be used for; None leaves the choice to its columns.
        given: What the user has set of `data.dataset`: `columns` and `root` count.
        text: The path as the user wrote it.

    Raises:
        InputError: It is no list, or something that is needed is not in it.
    """
    listed = read_list(path)
    roles = recognise(listed, dict(given.get("columns") or {}))
    chosen = _task(listed, roles, task)
    if listed.form != "table" and chosen == "recognition":
        check_records(listed, roles)
    names = list(dict.fromkeys(listed.values(roles["path"])))
    if not all(names):
        raise InputError(str(path), "a line has no path", fix="fill it in, or remove the line")
    root, missing = _root(path, names, given)
    dataset: dict[str, Any] = {
        "kind": "list" if chosen == "recognition" else "captions",
        "annotations": absolute_text(path, text),
    }
    if root != path.absolute().parent:
        dataset["root"] = absolute_text(root)
    if chosen == "retrieval" and listed.delimiter == "tab":
        dataset["delimiter"] = "tab"
    if chosen == "retrieval" and listed.form == "table" and (not listed.columns or listed.delimiter == "space"):
        raise InputError(str(path), "captions need a table with a header", allowed="path,caption in the first line")
    columns, new_list = _columns(listed, roles, chosen)
    notes = []
    if missing:
        notes.append(f"{missing} of {len(names)} listed videos are not in {root} and are left out")
        if chosen == "retrieval":
            dataset["missing_videos"] = {"kind": "skip"}
    if chosen == "recognition" and "caption" in roles:
        notes.append(f"the column {roles['caption']!r} is not used; for captions: --task retrieval")
    if chosen == "retrieval" and "label" in roles:
        notes.append(f"the column {roles['label']!r} is not used; for classes: --task recognition")
    split_by, split_text = _split(path, listed, roles, notes)
    groups = "" if split_text else _groups(listed, roles, columns, is_rewritten=bool(new_list))
    if columns:
        dataset["columns"] = columns
    if split_by:
        dataset["split_by"] = split_by
    return FoundData(
        what=f"a list of {'labels' if chosen == 'recognition' else 'captions'} ({path.name})",
        dataset=dataset,
        task=chosen,
        place=path,
        is_divided=bool(split_text),
        split_text=split_text,
        groups=groups,
        missing_share=missing / len(names),
        new_list=new_list,
        notes=notes,
    )


def _task(listed: VideoList, roles: Mapping[Role, str], task: TaskKind | None) -> TaskKind:
    columns = shorten_list(listed.columns) if listed.columns else "paths alone"
    for wanted, role, way in (("recognition", "label", "retrieval"), ("retrieval", "caption", "recognition")):
        if task == wanted and role not in roles:
            other = f", or --task {way}" if ("caption" if role == "label" else "label") in roles else ""
            raise InputError(
                str(listed.path),
                f"no column of {role}s: {columns}",
                allowed=f"{role}, or another name that says it",
                fix=f"say which one it is: --set data.dataset.columns.{role}=NAME{other}",
            )
    if task:
        return task
    if "label" in roles and not ("caption" in roles and _are_unique(listed.values(roles["label"]))):
        return "recognition"
    if "caption" in roles:
        return "retrieval"
    raise InputError(
        str(listed.path),
        f"no column of labels or captions: {columns}",
        allowed="a column label or caption beside path",
        fix="say which one it is: --set data.dataset.columns.label=NAME, or --set data.dataset.columns.caption=NAME",
    )


def _are_unique(labels: Sequence[str]) -> bool:
    """Whether labels are no classes, because hardly two videos have the same."""
    return len(set(labels)) > len(labels) / 2


def _root(path: Path, names: Sequence[str], given: Mapping[str, Any]) -> tuple[Path, int]:
    """The folder that holds the listed videos, and how many of them are not there.

    Raises:
        InputError: None is there.
    """
    if given.get("root"):
        found = [Path(os.path.expandvars(str(given["root"]))).expanduser().absolute()]
    elif any(name.startswith("/") for name in names):
        found = [Path(common_root(list(names))) if all(name.startswith("/") for name in names) else Path("/")]
    else:
        found = places(path.absolute().parent)
    some = [names[number] for number in probes(len(names))]
    counts = [sum(os.path.isfile(os.path.join(place, name)) for name in some) for place in found]  # noqa: PTH113, PTH118
    best = found[0 if counts[0] else counts.index(max(counts))]
    there = sum(os.path.isfile(os.path.join(best, name)) for name in names)  # noqa: PTH113, PTH118
    if not there:
        raise InputError(
            str(path),
            f"none of its {len(names)} videos is there; the first is {names[0]!r}, looked for in {found[0]}",
            fix="say where they are: --set data.dataset.root=FOLDER",
        )
    return best, len(names) - there


def _columns(
    listed: VideoList, roles: Mapping[Role, str], task: TaskKind
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The document's `columns`; and, for labels in a JSON file, which `kind: list` does not read, their lines."""
    unused = {"group", "caption" if task == "recognition" else "label"}
    used: list[Role] = [role for role in roles if role not in unused]
    if listed.form == "json" and task == "recognition":
        kept = {*roles.values(), "start", "end", "reversed"}
        renamed = {column: role for role, column in roles.items()}
        return {}, [{renamed.get(k, k): v for k, v in row.items() if k in kept} for row in listed.rows]
    if not listed.columns:
        return {}, []
    return {role: roles[role] for role in used if roles[role] != role}, []


def _split(path: Path, listed: VideoList, roles: Mapping[Role, str], notes: list[str]) -> tuple[dict[str, Any], str]:
    """The document's `split_by` and how it is divided, for people; empty if nothing divides it."""
    if "split" in roles:
        values = {value for value in listed.values(roles["split"]) if value}
        if values <= _SPLITS and {"train", "test"} <= values:
            return {}, f"as in the column {roles['split']!r}"
        if values <= _SPLITS and len(values) == 1:
            notes.append(f"the column {roles['split']!r} says {values.pop()!r} everywhere, so it is not used")
            return {}, ""
        raise InputError(
            str(path),
            f"the column {roles['split']!r} says {shorten_list(sorted(values))}",
            allowed="train and test, perhaps val",
            fix="correct it, or remove the column",
        )
    own, test, val = _sibling(path, TRAIN_NAMES), None, None
    if own:
        test, val = _sibling_of(own, path, TEST_NAMES), _sibling_of(own, path, VAL_NAMES)
    if test is None and val is not None:
        notes.append(f"there is no list for test, so {val.name} is used as the test split")
        test, val = val, None
    if test is None or listed.form == "json":
        return {}, ""
    split_by = {"kind": "file", "test_annotations": absolute_text(test)}
    if val is not None:
        split_by["val_annotations"] = absolute_text(val)
    others = [each.name for each in (val, test) if each is not None]
    return split_by, f"as in {path.name}, {', '.join(others)}"


def _sibling(path: Path, names: Sequence[str]) -> str:
    """The word of a file's name that says which split it is, in the case in which it stands there."""
    found = [name for name in names if name in path.stem.lower().replace("-", "_").split("_")]
    return found[0] if found else ""


def _sibling_of(own: str, path: Path, names: Sequence[str]) -> Path | None:
    """The list beside this one with another split in its name."""
    at = path.stem.lower().find(own)
    for name in names:
        other = path.with_name(path.stem[:at] + name + path.stem[at + len(own) :] + path.suffix)
        if other.is_file():
            return other
    return None


def _groups(listed: VideoList, roles: Mapping[Role, str], columns: dict[str, str], *, is_rewritten: bool) -> str:
    """What tells which clips belong together; the column is added to the document's, if that reads the list itself."""
    if "group" not in roles or not listed.columns:
        return ""
    values = [value for value in listed.values(roles["group"]) if value]
    if not MIN_GROUPS <= len(set(values)) < len(values):
        return ""
    if not is_rewritten and roles["group"] != "group":
        columns["group"] = roles["group"]
    return f"the column {roles['group']!r}"


def candidates(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a folder that are lists of videos, of those that may be by their names."""
    found = []
    for name in names:
        path = folder / name
        if path.suffix.lower() in SUFFIXES and path.is_file():
            try:
                listed = read_list(path)
                column = recognise(listed, {})["path"]
            except InputError:
                continue
            if names_videos(listed, column):
                found.append(path)
    return found


def as_json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a JSON Lines file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
