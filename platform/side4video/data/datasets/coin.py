"""COIN (Tang et al., 2019, arXiv 1903.02874): 11,827 instructional videos of 180 tasks, with their steps.

    dataset: {kind: coin, annotations: "${COIN}", root: "${COIN}/videos"}
    dataset: {kind: coin, annotations: "${COIN}", root: "${COIN}/videos", samples: steps}

The official file is `{database: {id: {class, recipe_type, subset, annotation: [{id, label, segment}]}}}`. Classes are
in the order of their official numbers: `recipe_type` of a task, `id` of a step. Several steps have one label (`remove
the tire` belongs to two tasks), so a label that is not alone is followed by its task and, where one task has it twice,
by the number of the step.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from side4video.core.errors import InputError
from side4video.data.annotations.captioned import Extension
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.annotations.labelled import LabelledSpec, LabelledVideo
from side4video.data.annotations.missing_files import warn_once
from side4video.data.annotations.readable_names import ClassNameStyle, split_camel_case
from side4video.data.annotations.segments import as_segment
from side4video.data.clip import Split

_SPLITS: Mapping[str, Split] = {"training": "train", "testing": "test", "validation": "test"}


class CoinSpec(LabelledSpec):
    """COIN, from its official file: whole videos and their task, or steps and their label."""

    DEFAULT_CLASSES: ClassVar[int] = 180
    """Number of classes that plans of whole videos assume if the file is not on this machine."""
    kind: Literal["coin"] = "coin"
    samples: Literal["videos", "steps"] = "videos"
    """What a clip is: a whole video with its task (180 classes), or each annotated segment with its step (778)."""
    names: ClassNameStyle = "file"
    """Names of tasks: as in the file (`ChangeCarTire`), or `words` (`Change Car Tire`), for text towers."""
    folders: Literal["recipe-type", "none"] = "recipe-type"
    """Where videos are: in a folder for each task, named by its number, as the official script stores them, or all in
    one folder."""
    train_list: str = "COIN.json"
    """Name of the file that lists the training videos."""
    test_list: str = "COIN.json"
    """Name of the file that lists the test videos; the same, which says the split of each video."""
    class_names: str = ""
    """Name of a file of class names, one per line. Empty: the names in the official file."""
    extension: Extension = ".mp4"
    """Extension of the video files. For `format: official` only."""

    def all_usual_classes(self) -> int:
        """Number of classes that plans assume if the file is not on this machine."""
        return self.DEFAULT_CLASSES if self.samples == "videos" else 778

    def _all_classes(self) -> tuple[str, ...]:
        if self.class_names:
            return super()._all_classes()
        return tuple(name for _, name in sorted(self._names().items()))

    def _names(self) -> dict[int, str]:
        """The class name of each official number."""
        tasks: dict[int, str] = {}
        steps: dict[int, str] = {}
        task_of: dict[int, str] = {}
        lists = dict.fromkeys((self.train_list, self.test_list))
        for origin, _, entry in (entry for name in lists for entry in _entries(self._file(name))):
            task = self._task(entry, origin)
            _add_name(tasks, _number(entry["recipe_type"], origin), task, origin)
            if self.samples == "steps":
                for place, step in _steps(entry, origin):
                    number = _number(step["id"], place)
                    _add_name(steps, number, as_text(step["label"], place).strip(), place)
                    task_of[number] = task
        return _without_repeats(steps, task_of) if self.samples == "steps" else tasks

    def _task(self, entry: Mapping[str, Any], origin: str) -> str:
        name = as_text(entry["class"], origin).strip()
        return split_camel_case(name) if self.names == "words" else name

    def _listed(self, split: Split) -> list[LabelledVideo]:
        if self.format == "list":
            return super()._listed(split)
        path = self._list(split)
        names = self._names()
        videos: list[LabelledVideo] = []
        empty = 0
        for origin, identifier, entry in _entries(path):
            if _split_of(entry, origin) != split:
                continue
            folder = f"{_number(entry['recipe_type'], origin)}/" if self.folders == "recipe-type" else ""
            name = f"{folder}{identifier}{'' if self.frame_pattern else self.extension}"
            if self.samples == "videos":
                videos.append(LabelledVideo(name, names[_number(entry["recipe_type"], origin)], origin, identifier))
                continue
            found: dict[tuple[float, float, str], LabelledVideo] = {}
            for place, step in _steps(entry, origin):
                segment = as_segment(step["segment"], place)
                label = names[_number(step["id"], place)]
                if segment is None:
                    empty += 1
                else:
                    found.setdefault((*segment, label), LabelledVideo(name, label, place, identifier, *segment))
            videos.extend(found.values())
        if empty:
            warn_once(f"{path} ({split}): left out {empty} steps that end before they start")
        if not videos:
            raise InputError(str(path), f"no entry is for {split}", allowed=f"a subset of {', '.join(_SPLITS)}")
        return videos


def _entries(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Origin, id and entry of each video."""
    database = as_object(read_json(path), str(path), ("database",))["database"]
    for identifier, value in as_object(database, f"{path}:database").items():
        origin = f"{path}:{identifier}"
        yield origin, identifier, as_object(value, origin, ("class", "recipe_type", "subset", "annotation"))


def _steps(entry: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Origin and entry of each annotated step of a video."""
    for position, value in enumerate(as_list(entry["annotation"], f"{origin}.annotation")):
        place = f"{origin}.annotation[{position}]"
        yield place, as_object(value, place, ("id", "label", "segment"))


def _split_of(entry: Mapping[str, Any], origin: str) -> Split:
    if entry["subset"] not in _SPLITS:
        raise InputError(origin, f"the subset is {entry['subset']!r:.40}", allowed=", ".join(_SPLITS))
    return _SPLITS[entry["subset"]]


def _number(value: Any, origin: str) -> int:
    """An official number, which the file writes as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
        raise InputError(origin, f"the number is {value!r:.40}", allowed="a whole number")
    return int(value)


def _add_name(names: dict[int, str], number: int, name: str, origin: str) -> None:
    if names.setdefault(number, name) != name:
        raise InputError(
            origin,
            f"the number {number} is that of {name!r} and of {names[number]!r}",
            fix="write one name for it everywhere",
        )


def _without_repeats(steps: Mapping[int, str], task_of: Mapping[int, str]) -> dict[int, str]:
    """The labels of steps, each of them different."""
    alike = Counter(steps.values())
    in_task = Counter((label, task_of[number]) for number, label in steps.items())
    names = {}
    for number, label in steps.items():
        task = task_of[number]
        detail = task if in_task[label, task] == 1 else f"{task}, step {number}"
        names[number] = label if alike[label] == 1 else f"{label} ({detail})"
    return names
