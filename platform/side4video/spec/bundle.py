"""A trained model as a folder: weights, document, classes, a card for people, and checksums of all.

    weights.safetensors     the side network and its head
    backbone.safetensors    the frozen tower, if it was asked for; else `spec.json` names where it comes from
    spec.json               the resolved document
    plugins/                the plug-ins that are single files, if the document names some
    graph.pt2               tower, network and head as one graph, if it was asked for: `torch.export.load` reads it
    bundle.json             classes, the backbone's fingerprint, figures, checksums
    README.md               the model card

Nothing in it is executed when it is read, unless the user allows its plug-ins: the graph, which torch reads with a
format of its own, is never opened here.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.allowed_plugins import find_allowed, is_file_source
from side4video.core.bounded_files import MAX_DOCUMENT_BYTES, check_size, parse_json
from side4video.core.errors import InputError
from side4video.core.whole_folder import check_new, whole_folder
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment

if TYPE_CHECKING:
    from side4video.models.towers.load import TowerWeights

FORMAT = 1
"""Raised whenever folders of before would be read wrongly."""
WEIGHTS, BACKBONE, GRAPH = "weights.safetensors", "backbone.safetensors", "graph.pt2"
SPEC, BUNDLE, CARD = "spec.json", "bundle.json", "README.md"
PLUGINS = "plugins"


@dataclass(frozen=True)
class Bundle:
    """What `bundle.json` says."""

    name: str
    classes: tuple[str, ...]
    backbone_sha256: str
    """Fingerprint of the tower that the weights were trained on."""
    figures: Mapping[str, float]
    """What the run measured, by metric."""
    origin: Mapping[str, str]
    """The run, its data and code."""
    graph: str = ""
    """How near its graph's scores are to the model's; empty where it has none."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file beside it, and of its own description (`sealed`)."""
    format: int = FORMAT
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The classes of each head; empty where there are none, and then not written."""


def write_bundle(
    folder: Path,
    bundle: Bundle,
    spec: Experiment,
    weights: Path,
    *,
    card: str,
    backbone: "TowerWeights | None" = None,
    graph: Path | None = None,
) -> Bundle:
    """Write the folder, whole or not at all; it must not be there, or be empty.

    The checksums of `bundle` are made here. `weights` is the safetensors file of the student; `card` is Markdown. If
    `backbone` is None, the tower's weights stay where they come from.

    Raises:
        InputError: The folder holds something, or the disk is full or cannot be written.
    """
    check_new(folder)
    wanted = sum(file.stat().st_size for file in (weights, graph) if file is not None)
    wanted += 0 if backbone is None else sum(tensor.nbytes for tensor in backbone.tensors.values())
    with whole_folder(folder, wanted=wanted, last=BUNDLE) as partial:
        shutil.copyfile(weights, partial / WEIGHTS)
        (partial / SPEC).write_text(json.dumps(spec.resolved(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / CARD).write_text(card, encoding="utf-8")
        names = [WEIGHTS, SPEC, CARD, *_copy_plugins(spec, partial)]
        if backbone is not None:
            from safetensors.torch import save_file

            save_file({name: tensor.contiguous() for name, tensor in backbone.tensors.items()}, partial / BACKBONE)
            names.append(BACKBONE)
        if graph is not None:
            shutil.copyfile(graph, partial / GRAPH)
            names.append(GRAPH)
        described = {**asdict(bundle), "checksums": {name: checksum(partial / name) for name in names}}
        if not bundle.heads:  # versions that know no heads read the folder too
            del described["heads"]
        document = sealed(described)
        (partial / BUNDLE).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Bundle(**document)


def describe_classes(classes: Sequence[str], heads: Mapping[str, Sequence[str]]) -> str:
    """How many classes a model has: `10 classes`, or `97 classes of verb, 300 of noun`."""
    if not heads:
        return f"{len(classes)} classes"
    first, *others = ((len(names), name) for name, names in heads.items())
    return ", ".join([f"{first[0]} classes of {first[1]}", *(f"{count} of {name}" for count, name in others)])


def read_checksums(folder: Path) -> Mapping[str, str]:
    """SHA-256 of each file as `bundle.json` says it; the files are not read.

    Raises:
        InputError: The folder has no such description.
    """
    document = _json(folder / BUNDLE)
    checksums = document.get("checksums") if isinstance(document, Mapping) else None
    if not isinstance(checksums, Mapping) or WEIGHTS not in checksums:
        raise InputError(str(folder / BUNDLE), "it has no checksum of the weights", fix="export the run again")
    return checksums


def read_bundle(folder: Path) -> tuple[Bundle, Experiment]:
    """The folder's description and document; every file is what was written.

    Raises:
        InputError: It is no such folder, or a file is missing or was changed; it names the file.
    """
    if folder.is_dir() and not (folder / BUNDLE).exists():
        raise InputError(
            str(folder),
            f"it is no exported model: it has no {BUNDLE}",
            fix="name a folder that `side4video export` wrote; or a run, by its name or id without `/`",
        )
    document = _json(folder / BUNDLE)
    try:
        if document["format"] > FORMAT:
            raise InputError(
                str(folder / BUNDLE), f"format {document['format']}", allowed=f"up to {FORMAT}", fix="update side4video"
            )
        heads = {name: tuple(names) for name, names in document.get("heads", {}).items()}
        bundle = Bundle(**{**document, "classes": tuple(document["classes"]), "heads": heads})
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(str(folder / BUNDLE), f"no bundle: {error}", fix="export the run again") from error
    if not {WEIGHTS, SPEC, BUNDLE} <= _known_names(bundle) <= {WEIGHTS, BACKBONE, GRAPH, SPEC, CARD, BUNDLE}:
        raise InputError(str(folder / BUNDLE), "its checksums are not those of a bundle", fix="export the run again")
    for name, expected in bundle.checksums.items():
        if not (folder / name).is_file():
            raise InputError(str(folder / name), "the file is missing", fix="copy the folder again, or export again")
        found = sealed(document)["checksums"][BUNDLE] if name == BUNDLE else checksum(folder / name)
        if found != expected:
            raise InputError(
                str(folder / name),
                f"its SHA-256 is not {expected[:16]}…: the file was changed, or a copy was cut short",
                fix="copy the folder again, or export again",
            )
    document = _json(folder / SPEC)
    entries = document.get("plugins", [])
    for entry, name in zip(entries, plugin_names([each["source"] for each in entries]), strict=True):
        if (folder / name).is_file():  # so that a message names the file that can be allowed
            entry["source"] = str(folder / name)
    return bundle, parse_experiment(document, source=str(folder / SPEC))


def _known_names(bundle: Bundle) -> set[str]:
    """The files with checksums that are no plug-ins."""
    return {name for name in bundle.checksums if not re.fullmatch(rf"{PLUGINS}/[^/\\]+\.py", name)}


def plugin_names(sources: Sequence[str]) -> list[str]:
    """Where a folder has each plug-in of a document: `plugins/parts.py`, or the name of a module, which is installed.

    Of several files with one name, the later ones get a number, `plugins/parts-2.py`: the same in each reading.
    """
    names: list[str] = []
    for source in sources:
        if not is_file_source(source):
            names.append(source)
            continue
        stem, number = Path(source).name.removesuffix(".py"), 1
        name = f"{PLUGINS}/{stem}.py"
        while name.lower() in {each.lower() for each in names}:  # some disks take a.py and A.py for one file
            number += 1
            name = f"{PLUGINS}/{stem}-{number}.py"
        names.append(name)
    return names


def needed_plugins(spec: Experiment, folder: str | Path) -> list[str]:
    """What whoever loads the folder has to allow: its copies of files, and modules."""
    named = [each.source for each in spec.plugins]
    return [
        str(Path(folder) / name) if is_file_source(source) else name
        for source, name in zip(named, plugin_names(named), strict=True)
    ]


def _copy_plugins(spec: Experiment, folder: Path) -> list[str]:
    """Copy the plug-ins that are files; their names in the folder."""
    copied = []
    for each, name in zip(spec.plugins, plugin_names([each.source for each in spec.plugins]), strict=True):
        if is_file_source(each.source):
            (folder / PLUGINS).mkdir(exist_ok=True)
            shutil.copyfile(find_allowed(each.source, each.sha256), folder / name)
            copied.append(name)
    return copied


def is_folder_name(model: str | Path) -> bool:
    """Whether a model is named by its folder, not as a run: a path, a text with `/`, or a folder of `export` here.

    Another folder, such as one with the videos of a run of the same name, is no model.
    """
    return isinstance(model, Path) or "/" in model or (Path(model) / BUNDLE).is_file()


def check_run_exists(store: Any, run: str) -> None:
    """Say what a name may have meant, where it is that of a folder and of no run.

    Raises:
        InputError: It is; or several runs have ids that start so.
    """
    if not Path(run).is_dir():
        return  # whoever fetches the run says that there is none
    try:
        store.find(run, finished_first=True)
    except InputError as error:
        found = f"{error.found}; and the folder {run} is no exported model: it has no {BUNDLE}"
        raise InputError(error.where, found, allowed=error.allowed, fix=error.fix) from error


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `bundle.json` says, with a checksum of all of it but that checksum."""
    others = {name: value for name, value in document["checksums"].items() if name != BUNDLE}
    text = json.dumps({**document, "checksums": others}, sort_keys=True)
    return {**document, "checksums": {**others, BUNDLE: hashlib.sha256(text.encode()).hexdigest()}}


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        check_size(path, MAX_DOCUMENT_BYTES, "a file of an exported model")
        document = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            str(path), f"it cannot be read: {error.strerror}", fix="name a folder that `side4video export` wrote"
        ) from error
    except ValueError as error:
        raise InputError(str(path), f"not JSON: {error}", fix="export the run again") from error
    if not isinstance(document, dict):
        raise InputError(str(path), f"a {type(document).__name__}", allowed="a JSON object", fix="export the run again")
    return document
