"""The document of an imported model: what its file says, the data of an experiment, and what the user sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side4video.apps.imports.pairs import Reading
from side4video.core.errors import InputError
from side4video.data.annotations.class_names import read_class_names
from side4video.inference.bundled_weights import NO_DATA
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, load_experiment, parse_experiment


def class_names(option: Path | None, data: Experiment | None, *, number: int) -> tuple[str, ...]:
    """The names of the classes in the order of the classifier's rows.

    Without a file they are those of the data set. `number` is how many rows there are; 0 where the names themselves
    are the classifier.

    Raises:
        InputError: There is neither, or there are more or fewer names.
    """
    if option is not None:
        names = read_class_names(option, "--classes")
    elif data is not None:
        names = data.data.listed.classes()
    else:
        rows = f"the classifier has {number} rows" if number else "the names of the classes are the classifier"
        raise InputError("--classes", f"not given, and {rows}", allowed="a file of names", fix="--classes NAMES.txt")
    if number and len(names) != number:
        where, what = ("--classes", str(option)) if option else ("--data", "the data set")
        found = f"{what} has {len(names)} classes, and the file's classifier has {number}"
        fix = "name the classes that it was trained on"
        raise InputError(where, found, allowed=f"{number} names, in the order of the classifier", fix=fix)
    return names


def made_document(
    reading: Reading,
    backbone: Mapping[str, Any],
    classes: Sequence[str],
    *,
    name: str,
    data: Experiment | None,
    overrides: Sequence[str],
) -> Experiment:
    """The document of the model; `data` is an experiment whose data and evaluation it takes over.

    Raises:
        InputError: It is not valid, or an override is wrong.
    """
    if data is None:
        dataset = {"kind": "captions", "annotations": NO_DATA}
        if reading.task["kind"] == "recognition":
            named = {"kind": "given", "names": list(classes)}
            dataset = {"kind": "list", "annotations": NO_DATA, "class_names": named}
        section: dict[str, Any] = {"dataset": dataset, "frames": reading.frames}
    else:
        section = data.resolved()["data"]
        if not any(each.startswith("data.frames ") for each in reading.assumed):
            section["frames"] = reading.frames
    document: dict[str, Any] = {
        "name": name,
        "task": dict(reading.task),
        "backbone": dict(backbone),
        "method": dict(reading.method),
        "data": section,
        "evaluation": {**({} if data is None else data.resolved()["evaluation"]), "precision": "fp32"},
    }
    for override in overrides:
        apply_override(document, override)
    if "size" not in section or data is not None:
        section["size"] = _image_size(document)
    return parse_experiment(document, source="the imported model")


def _image_size(document: Mapping[str, Any]) -> int:
    from side4video.models.backbones import OpenCLIPSpec

    backbone = document["backbone"]
    if backbone["kind"] == "vit":
        return backbone["image_size"]
    return OpenCLIPSpec.model_validate(backbone).shape().image_size


def load_data(path: str) -> Experiment | None:
    """The experiment whose data an imported model is evaluated on; None for no path.

    Raises:
        InputError: There is no such file, or it is wrong.
    """
    return load_experiment(path) if path else None
