"""Makes an exported folder of another system's checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import side4video
from side4video.apps.imports.card import import_card
from side4video.apps.imports.document import class_names, load_data, made_document
from side4video.apps.imports.formats import ImportFormat
from side4video.apps.imports.pairs import Reading
from side4video.apps.imports.tensors import check_account, left_out, read_tensors, shapes_of, student_tensors
from side4video.apps.imports.texts import text_classifier, text_section
from side4video.apps.imports.tower import GivenTower, given_tower, matched_tower, tower_tensors
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.engine.checkpoint import load_tensors
from side4video.engine.process_group import ProcessGroup
from side4video.inference.data_section import without_data
from side4video.models.towers.load import TowerWeights
from side4video.run import build_student
from side4video.spec.bundle import BACKBONE, Bundle, checksum, write_bundle
from side4video.spec.experiment import Experiment
from side4video.tasks.recognition.class_order import in_order_of


@dataclass(frozen=True)
class ImportOptions:
    """What the user says beside the file."""

    tower: str = ""
    """A file of CLIP's weights, or `MODEL/TAG` of open_clip."""
    classes: Path | None = None
    """A file of class names."""
    data: str = ""
    """An experiment file whose data the model is evaluated on."""
    name: str = "imported"
    """Name of the model."""
    overrides: tuple[str, ...] = ()
    """Fields of the document, as `path=value`."""


@dataclass(frozen=True)
class Imported:
    """A folder that was written, and the account of the file's tensors."""

    bundle: Bundle
    spec: Experiment
    used: int
    """Tensors of the file that the model has."""
    left_out: tuple[str, ...]
    """Names of tensors that are not used, each with the reason."""
    made_up: tuple[str, ...]
    """Names of the tower's tensors that no file has; the method does not use them."""
    assumed: tuple[str, ...]
    """Fields of the document that the file does not determine."""


def import_checkpoint(path: Path, form: ImportFormat, folder: Path, options: ImportOptions) -> Imported:
    """Write the folder (`spec.bundle`), with the tower's weights. It must not be there, or be empty.

    Raises:
        InputError: The file is damaged, would run code, or is of another format; a tensor is missing, unknown or of
            another shape; the classes are others; the folder holds something; or the document is not valid.
    """
    state = read_tensors(path, form)
    reading = form.read(shapes_of(state, where="FILE"))
    tower = given_tower(options.tower)
    clip = tower if reading.has_texts_elsewhere else GivenTower()
    if reading.has_texts_elsewhere:
        reading = replace(reading, backbone={**reading.backbone, "text": text_section(reading, clip)})
        tower = GivenTower()
    check_account(state, reading, given=tuple(tower.tensors))
    data = load_data(options.data)
    classes = _classes(state, reading, options, data)
    backbone = _backbone_section(reading, tower, folder)
    spec = made_document(reading, backbone, classes, name=options.name, data=data, overrides=options.overrides)
    tensors, made_up = tower_tensors(state, reading, tower, width=spec.tower.width, output_dim=spec.tower.output_dim)
    weights = matched_tower(tensors, spec)
    with temporary_folder() as scratch:
        parts = _Parts(state, reading, clip, tensors)
        student = _student(parts, spec, weights, classes=classes, scratch=scratch)
        if data is not None and classes:
            student, classes = _in_order_of(data.data.listed.classes(), classes, student)
        file = scratch / "student.safetensors"
        save_file(student, file)
        origin = _origin(path, form, made_up)
        bundle = Bundle(options.name, classes, weights.fingerprint, figures={}, origin=origin)
        card = import_card(bundle, spec, form)
        written = write_bundle(folder, bundle, spec, file, card=card, backbone=weights)
    reasons = [f"{name} ({why})" for name in sorted(state) if (why := left_out(name, reading))]
    return Imported(
        bundle=written,
        spec=spec,
        used=len(state) - len(reasons),
        left_out=tuple(reasons),
        made_up=tuple(made_up),
        assumed=_still_assumed(reading, options),
    )


def _classes(
    state: Mapping[str, Tensor], reading: Reading, options: ImportOptions, data: Experiment | None
) -> tuple[str, ...]:
    if reading.task["kind"] != "recognition":
        if options.classes is not None:
            raise InputError("--classes", "given, and the task is retrieval", allowed="none", fix="leave it out")
        return ()
    number = len(state[reading.classifier]) if reading.classifier else 0
    return class_names(options.classes, data, number=number)


def _backbone_section(reading: Reading, tower: GivenTower, folder: Path) -> dict[str, Any]:
    section = dict(reading.backbone or tower.backbone)
    if not section:
        raise InputError(
            "--tower",
            "not given, and the checkpoint does not hold the frozen tower",
            allowed="a file of CLIP's weights, or MODEL/TAG of open_clip, such as ViT-B-16-quickgelu/openai",
            fix="name the tower that the model was trained on",
        )
    if "proj" in reading.unused and (projection := tower.tensors.get("proj")) is not None:
        section["output_dim"] = projection.shape[1]
    return {"weights": {"kind": "file", "path": str((folder / BACKBONE).absolute())}, **section}


@dataclass(frozen=True)
class _Parts:
    """What the student's tensors are made of."""

    state: Mapping[str, Tensor]
    reading: Reading
    clip: GivenTower
    """Where the text tower is, if not in the file."""
    tower: Mapping[str, Tensor]
    """The frozen tower's tensors."""


def _student(
    parts: _Parts, spec: Experiment, weights: TowerWeights, *, classes: tuple[str, ...], scratch: Path
) -> dict[str, Tensor]:
    """The tensors of the student's module, checked against the module."""
    reading = parts.reading
    tower = spec.backbone.build("cpu", weights)
    with_classes = without_data(spec, classes) if classes else spec  # the file's classes in its order, and no data set
    student = build_student("imported", with_classes, ProcessGroup(), tower, blank_texts=True)
    expected = {name: tuple(tensor.shape) for name, tensor in student.module.state_dict().items()}
    made = {ours: parts.tower[name].float().contiguous().clone() for ours, name in reading.copied.items()}
    made |= {ours: torch.tensor(value) for ours, value in reading.constants.items()}
    if reading.texts or reading.has_texts_elsewhere:
        made |= text_classifier(parts.state, reading, spec, classes=classes, given=parts.clip, scratch=scratch)
    made |= student_tensors(parts.state, reading, {name: size for name, size in expected.items() if name not in made})
    file = scratch / "checked.safetensors"
    save_file(made, file)
    load_tensors(student.module, file)
    return made


def _in_order_of(
    names: tuple[str, ...], classes: tuple[str, ...], student: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The classifier's rows in the order of the data set's classes."""
    return in_order_of(names, classes, student, where="--classes"), names


def _origin(path: Path, form: ImportFormat, made_up: list[str]) -> dict[str, str]:
    return {
        "format": form.name,
        "file": path.name,
        "file sha256": checksum(path),
        "names of": form.repository,
        "imported by": f"side4video {side4video.__version__}",
        "made up, not used": ", ".join(made_up),
    }


def _still_assumed(reading: Reading, options: ImportOptions) -> tuple[str, ...]:
    """The assumptions about fields that nobody has set."""
    given = {each.partition("=")[0].strip() for each in options.overrides}
    given |= {"data.frames"} if options.data else set()
    return tuple(each for each in reading.assumed if each.split(" ")[0] not in given)
