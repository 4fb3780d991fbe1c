"""Finds out what a source is: a folder of videos, a list, the annotations of a known data set, or `KIND:PATH`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from side4video.apps.init.found_data import FoundData, TaskKind
from side4video.apps.init.known_sets import (
    FILES,
    KINDS,
    find_in_msrvtt_file,
    find_known_set,
    recognise_known_set,
    split_kind,
)
from side4video.apps.init.video_folders import Folder, find_in_folder, scan
from side4video.apps.init.video_lists import candidates, find_in_list
from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.data.annotations.tables import shorten_list
from side4video.data.storage import is_remote


def find_data(source: str, *, task: TaskKind | None = None, given: Mapping[str, Any] | None = None) -> FoundData:
    """What is at a source. No video is opened.

    Args:
        source: A folder, a file, or `KIND:PATH` with a kind of data set.
        task: What it is to be used for; None leaves the choice to the source.
        given: What the user has set of `data.dataset`.

    Raises:
        InputError: There is nothing, or nothing that can be trained on; the message says what to do.
    """
    given = dict(given or {})
    kind, text = split_kind(source)
    if kind == "motion" or source == "motion":
        raise InputError("SOURCE", "motion, which needs no videos", fix="side4video demo")
    if is_remote(text):
        raise InputError(
            source, "an address, and only folders of this machine are looked at", fix="copy an example from the docs"
        )
    path = Path(expand(text, "SOURCE"))
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(text, f"cannot be looked at: {error.strerror}", fix="check the path") from error
    if not exists:
        found = "a link to nothing" if path.is_symlink() else "no such file or folder"
        raise InputError(text, found, allowed=f"a folder, a list, or KIND:FOLDER with {shorten_list(KINDS)}")
    found = _find(kind, path, is_folder=is_folder, task=task, given=given, text=text)
    if task and found.task != task:
        others = "texts that describe them" if task == "retrieval" else "labels"
        raise InputError(
            "--task", f"{task}, and {found.what} has no {others}", allowed=found.task, fix=f"--task {found.task}"
        )
    return found


def _find(
    kind: str, path: Path, *, is_folder: bool, task: TaskKind | None, given: Mapping[str, Any], text: str
) -> FoundData:
    if kind in ("list", "captions") or not is_folder:
        return _find_in_file(kind, path, task=task, given=given, text=text)
    if kind == "folder":
        return find_in_folder(scan(path), text)
    if kind:
        annotations = recognise_known_set(path)[1] if kind in FILES else path
        return find_known_set(kind, annotations, given=given, text=text if annotations == path else "")
    known, annotations = recognise_known_set(path)
    if known:
        return find_known_set(known, annotations, given=given, text=text if annotations == path else "")
    return _find_in_plain_folder(path, task=task, given=given, text=text)


def _find_in_file(kind: str, path: Path, *, task: TaskKind | None, given: Mapping[str, Any], text: str) -> FoundData:
    if kind not in ("", "list", "captions"):
        raise InputError(text, f"a file, and {kind} needs a folder", fix="give the folder that it is in")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise InputError(text, what, allowed="a file that lists videos", fix="check the path")
    known, annotations = recognise_known_set(path.absolute().parent)
    if not kind and known and path.name in FILES[known]:
        return find_known_set(known, annotations, given=given)
    if not kind and path.suffix.lower() == ".json" and (found := find_in_msrvtt_file(path, given)):
        return found
    if kind == "captions":
        task = task or "retrieval"
    return find_in_list(path, task=task, given=given, text=text)


def _find_in_plain_folder(path: Path, *, task: TaskKind | None, given: Mapping[str, Any], text: str) -> FoundData:
    """A folder with lists in it, or with class folders."""
    tree = scan(path)
    lists = candidates(path, tree.others)
    if len(lists) > 1:
        train = [each for each in lists if "train" in each.stem.lower()]
        if len(train) == 1:
            first = find_in_list(train[0], task=task, given=given)
            if first.dataset.get("split_by"):
                return first
        raise InputError(
            text,
            f"{len(lists)} files may be the list: {shorten_list([each.name for each in lists])}",
            allowed="one list, or a list for each split, such as train.csv and test.csv",
            fix=f"name it: side4video init {lists[0]}",
        )
    if not lists:
        return find_in_folder(tree, text)
    if _is_classes(tree) and not task:
        return _with_list_or_folders(tree, lists[0], given=given, text=text)
    return find_in_list(lists[0], task=task, given=given)


def _is_classes(tree: Folder) -> bool:
    return tree.has_videos_below


def _with_list_or_folders(tree: Folder, path: Path, *, given: Mapping[str, Any], text: str) -> FoundData:
    """The list that is beside folders of videos; the folders, if it cannot be used."""
    try:
        found = find_in_list(path, task=None, given=given)
    except InputError as problem:
        found = find_in_folder(tree, text)
        found.notes.append(f"{path.name} is not used ({problem.found})")
        return found
    found.notes.append(f"{path.name} says more than the folders; to use these: side4video init folder:{text}")
    return found
