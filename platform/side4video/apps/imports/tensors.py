"""The tensors of a file under the names of its format, and the account of them: each is used, or named.

Files are read by safetensors and by torch's weights-only reader, which executes nothing.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from side4video.apps.imports.changes import to_ours
from side4video.apps.imports.formats import FORMATS, ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading
from side4video.core.errors import InputError
from side4video.models.towers.checkpoint import few_names, read_checkpoint, without_wrappers

MOST_NAMES = 8
"""Names of one kind of fault that an error lists."""
_FIX = "take the file as its authors released it"


def read_tensors(path: Path, form: ImportFormat) -> dict[str, Tensor]:
    """The tensors of a file under the authors' names, without the names of wrappers.

    Raises:
        InputError: There is no such file, it is damaged, would run code when it is read, or is of another format.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputError("FILE", f"{path} {found}", allowed="a checkpoint", fix="correct the path")
    beside = sorted({each.beside for each in FORMATS if each.beside})
    state = without_wrappers(read_checkpoint(path, where="FILE", beside=beside))
    found = _format_of(state)
    if found is not form:
        looks = f"it looks like a file of {found.name} ({found.title})" if found else "it is of no format that is known"
        fix = f"side4video import {found.name} ..." if found else f"take a checkpoint of {form.repository}"
        missing = f"{path.name} has no tensor {form.mark}; {looks}"
        raise InputError("FILE", missing, allowed=f"a checkpoint of {form.title}", fix=fix)
    prefixes = _prefixes(state, form)
    if len(prefixes) > 1:
        found = f"{path.name} holds several such models: below {', '.join(sorted(prefixes))}"
        raise InputError("FILE", found, allowed="one model", fix="save one of them alone")
    (prefix,) = prefixes
    others = tuple(f"{each}." for each in beside if each != form.beside)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(others)}
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _format_of(state: Mapping[str, Tensor]) -> ImportFormat | None:
    return next((form for form in FORMATS if _prefixes(state, form)), None)


def _prefixes(state: Mapping[str, Tensor], form: ImportFormat) -> set[str]:
    """What stands in front of the mark of a format, in a whole number of names."""
    found = {name.removesuffix(form.mark) for name in state if name.endswith(form.mark)}
    return {prefix for prefix in found if not prefix or prefix.endswith(".")}


def shapes_of(state: Mapping[str, Tensor], *, where: str) -> FileShapes:
    """The shapes of tensors."""
    return FileShapes({name: tuple(tensor.shape) for name, tensor in state.items()}, where=where)


def check_account(state: Mapping[str, Tensor], reading: Reading, given: Sequence[str] = ()) -> None:
    """Check that each tensor of the file is used, and that each one that is needed is there.

    `given` are the library's names of tensors of the tower that come from elsewhere.

    Raises:
        InputError: Tensors are missing or unknown, or a value is not finite; they are named.
    """
    needed = {name for pair in reading.student for name in pair.theirs} | set(reading.texts.values())
    needed |= {name for pair in reading.tower_pairs for name in pair.theirs}
    needed |= {theirs for ours, theirs in reading.tower.items() if ours not in (*given, *reading.unused)}
    used = needed | set(reading.tower.values())
    unknown = [name for name in state if name not in used and not left_out(name, reading)]
    faults = []
    if missing := sorted(needed - state.keys()):
        faults.append(f"{len(missing)} tensors are missing: {few_names(missing, MOST_NAMES)}")
    if unknown:
        faults.append(f"{len(unknown)} are unknown: {few_names(unknown, MOST_NAMES)}")
    if broken := [name for name in used if name in state and not bool(state[name].isfinite().all())]:
        faults.append(f"{len(broken)} are not finite everywhere: {few_names(sorted(broken), MOST_NAMES)}")
    if faults:
        raise InputError("FILE", "; ".join(faults), allowed="exactly the tensors of this format", fix=_FIX)


def left_out(name: str, reading: Reading) -> str:
    """Why a tensor is not used; empty where it is, or where it is not known."""
    return next((why for pattern, why in reading.left_out.items() if re.fullmatch(pattern, name)), "")


def student_tensors(
    state: Mapping[str, Tensor], reading: Reading, expected: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """The tensors of the student's module; `expected` are the names and shapes that it needs.

    Raises:
        InputError: A tensor has another shape, or the model needs others than the format has.
    """
    made = changed_tensors(state, reading.student, expected)
    if other := sorted(made.keys() ^ expected.keys()):
        found = f"the document needs other tensors than the file has: {few_names(other, MOST_NAMES)}"
        raise InputError("--set", found, allowed="fields that keep the network's weights", fix="leave it out")
    return made


def changed_tensors(
    state: Mapping[str, Tensor], pairs: Sequence[Pair], expected: Mapping[str, Sequence[int]] = MappingProxyType({})
) -> dict[str, Tensor]:
    """Our tensors of pairs; `expected` are the shapes of those that are known.

    Raises:
        InputError: A tensor has another shape.
    """
    made, faults = {}, []
    for pair in pairs:
        theirs = " + ".join(pair.theirs)
        try:
            tensor = to_ours(pair.change, [state[name] for name in pair.theirs])
        except ValueError as error:
            faults.append(f"{theirs}: {error}")
            continue
        wanted = expected.get(pair.ours)
        if wanted is not None and list(tensor.shape) != list(wanted):
            faults.append(f"{theirs} gives {list(tensor.shape)}, not {list(wanted)}")
        made[pair.ours] = tensor
    if faults:
        found = f"{len(faults)} tensors have another shape: {few_names(faults, MOST_NAMES)}"
        raise InputError("FILE", found, allowed="the shapes of one model", fix=_FIX)
    return made
