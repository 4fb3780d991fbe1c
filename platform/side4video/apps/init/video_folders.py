"""Recognises videos in folders: a folder for each class, perhaps with `train` and `test` above. No video is opened."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from side4video.apps.init.found_data import FoundData, absolute_text, is_video_name
from side4video.core.errors import InputError
from side4video.data.annotations.tables import shorten_list
from side4video.data.storage import is_folder_entry

TRAIN_NAMES = ("train", "training", "trn")
VAL_NAMES = ("val", "valid", "validation", "dev")
TEST_NAMES = ("test", "testing", "tst")

GROUP_PATTERNS = (
    r"_(g[0-9]+)_",
    r"(?i)((?:person|subject|actor|speaker|source)[_-]?[0-9]+)(?![0-9])",
    r"(?:^|/)S[0-9]{3}C[0-9]{3}(P[0-9]{3})R[0-9]{3}",
)
"""What of a file's name says who or what was filmed: UCF101's, those of KTH and others, NTU RGB+D's."""
MIN_GROUPS = 4
"""Fewer groups cannot be divided into training, validation and test."""


@dataclass
class Folder:
    """A folder with what is directly in it, and what is in its folders."""

    path: Path
    videos: list[str] = field(default_factory=list)
    """Names of files, sorted."""
    others: list[str] = field(default_factory=list)
    """Names of other files, sorted."""
    folders: list["Folder"] = field(default_factory=list)
    """By name."""
    not_files: int = 0
    """How many of `videos` are links to nothing, or other things that cannot be read as files."""
    loops: list[str] = field(default_factory=list)
    """Names of links to a folder that this folder is in."""

    @property
    def has_videos_below(self) -> bool:
        """Whether a folder in it has videos, at any depth that was looked at."""
        return any(each.videos or each.has_videos_below for each in self.folders)


def scan(path: Path, *, depth: int = 3) -> Folder:
    """A folder with the names in it, `depth` folders deep. Links are followed; a folder inside of itself is left out.

    Raises:
        InputError: A folder cannot be read.
    """
    return _scan(path, depth, ())


def _scan(path: Path, depth: int, above: tuple[tuple[int, int], ...]) -> Folder:
    found = Folder(path)
    try:
        status = path.stat()
        with os.scandir(path) as listing:
            # A listing says what is a link; all others need no call of their own.
            entries = sorted(
                (entry.name, is_folder_entry(entry), _is_file(entry))
                for entry in listing
                if not entry.name.startswith(".")
            )
    except OSError as error:
        raise InputError(
            str(path), f"the folder cannot be read: {error.strerror}", fix="change its permissions, or name another one"
        ) from error
    above = (*above, (status.st_dev, status.st_ino))
    for name, is_folder, is_file in entries:
        if not is_folder:
            (found.videos if is_video_name(name) else found.others).append(name)
            found.not_files += is_video_name(name) and not is_file
        elif _is_above(path / name, above):
            found.loops.append(name)
        elif depth > 0:
            found.folders.append(_scan(path / name, depth - 1, above))
    return found


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_above(path: Path, above: Sequence[tuple[int, int]]) -> bool:
    """Whether a folder is a link to one that it is in."""
    try:
        status = path.stat()
    except OSError:
        return True
    return (status.st_dev, status.st_ino) in above


def find_in_folder(tree: Folder, given: str = "") -> FoundData:
    """The data set that a folder of class folders is. `given` is the path as the user wrote it.

    Raises:
        InputError: It is none; the message says how to label videos.
    """
    if split := _split_folders(tree):
        return _divided(tree, split, given)
    alone = next((each for each in tree.folders if each.path.name.lower() in TRAIN_NAMES), None)
    if alone is not None and alone.has_videos_below and len([x for x in tree.folders if x.has_videos_below]) == 1:
        found = find_in_folder(alone, f"{given.rstrip('/')}/{alone.path.name}" if given else "")
        found.notes.append(f"there is a folder {alone.path.name} and none for test, so {alone.path.name} is divided")
        return found
    _refuse_other_forms(tree)
    return _undivided(tree, given)


def _split_folders(tree: Folder) -> dict[str, Folder]:
    """The folders of training, validation and test, by split; empty if they are not there."""
    found = {}
    for split, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES), ("test", TEST_NAMES)):
        named = [each for each in tree.folders if each.path.name.lower() in names and each.has_videos_below]
        if len(named) > 1:
            both = " and ".join(each.path.name for each in named)
            raise InputError(str(tree.path), f"{both} may both be the folder for {split}", fix="keep one of the two")
        if named:
            found[split] = named[0]
    return found if "train" in found and len(found) > 1 else {}


def _divided(tree: Folder, split: dict[str, Folder], given: str) -> FoundData:
    for folder in split.values():
        _refuse_other_forms(folder)
        _check_classes(folder)
    notes = []
    if "test" not in split:
        split = {"train": split["train"], "test": split["val"]}
        notes.append(f"there is no folder for test, so {split['test'].path.name} is used as the test split")
    classes = [each.path.name for each in split["train"].folders]
    _refuse_one_class(classes, split["train"].path)
    names = {name: folder.path.name for name, folder in split.items()}
    dataset: dict[str, Any] = {"kind": "folder", "root": absolute_text(tree.path, given)}
    if names != {name: name for name in names}:
        dataset["split_by"] = {"kind": "folders", **names}
    return FoundData(
        what=f"folders {', '.join(names.values())} with a folder for each class",
        dataset=dataset,
        task="recognition",
        place=tree.path,
        is_divided=True,
        split_text=f"as in the folders {', '.join(names.values())}",
        missing_share=_missing_share([inner for folder in split.values() for inner in folder.folders]),
        notes=notes,
    )


def _undivided(tree: Folder, given: str) -> FoundData:
    _check_classes(tree)
    _refuse_one_class([each.path.name for each in tree.folders], tree.path)
    notes = []
    if tree.videos:
        notes.append(f"{len(tree.videos)} videos beside the class folders have no class and are left out")
    dataset: dict[str, Any] = {"kind": "folder", "root": absolute_text(tree.path, given)}
    names = [video for each in tree.folders for video in each.videos]
    if pattern := group_pattern(names):
        dataset["group_pattern"] = pattern
    return FoundData(
        what="a folder with one folder for each class",
        dataset=dataset,
        task="recognition",
        place=tree.path,
        is_divided=False,
        groups=f"the part of a file's name that matches {pattern}" if pattern else "",
        missing_share=_missing_share(tree.folders),
        notes=notes,
    )


def _missing_share(folders: Sequence[Folder]) -> float:
    return sum(each.not_files for each in folders) / max(1, sum(len(each.videos) for each in folders))


def group_pattern(names: Sequence[str]) -> str:
    """The regular expression that finds a group in (nearly) all names; empty if there is none."""
    for pattern in GROUP_PATTERNS:
        groups = [match[1] for name in names if (match := re.search(pattern, name))]
        if len(groups) > 0.9 * len(names) and MIN_GROUPS <= len(set(groups)) < len(groups):
            return pattern
    return ""


def _check_classes(folder: Folder) -> None:
    """Check that each folder in a folder is a class.

    Raises:
        InputError: One has no video, its videos lie deeper, or it is a link to a folder above.
    """
    if folder.loops:
        raise InputError(str(folder.path / folder.loops[0]), "a link to a folder that it is in", fix="remove the link")
    for each in folder.folders:
        if each.videos:
            continue
        if each.has_videos_below:
            deeper = next(inner.path for inner in each.folders if inner.videos or inner.has_videos_below)
            raise InputError(
                str(each.path),
                f"its videos lie deeper, such as in {deeper}",
                allowed="one folder for each class, with its videos directly in it",
                fix="give the folder above the class folders, or a list of paths and labels",
            )
        raise InputError(str(each.path), "no video in it", fix="remove or move the folder: each one is a class")


def _refuse_one_class(classes: Sequence[str], place: Path) -> None:
    if len(classes) == 1:
        raise InputError(
            str(place),
            f"one class, {classes[0]!r}: there is nothing to tell apart",
            allowed="at least two classes",
            fix="add a folder with videos of something else",
        )


def _refuse_other_forms(tree: Folder) -> None:
    if tree.has_videos_below:
        return
    if tree.videos:
        raise InputError(
            str(tree.path),
            f"{len(tree.videos)} videos and no labels",
            allowed="a folder for each class; or a list, such as list.csv with the columns path,label or path,caption",
            fix="move the videos into class folders, or write such a list into the folder and call the command again",
        )
    found = "the folder is empty" if not tree.folders and not tree.others else "no video in it"
    raise InputError(
        str(tree.path),
        found if not tree.others else f"no video in it, only {shorten_list(tree.others)}",
        allowed="a folder with videos (.mp4, .avi, .mkv, .webm, ...)",
        fix="check the path",
    )
