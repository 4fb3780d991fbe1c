"""Checkpoints: trainable tensors in safetensors, all other state in JSON. Writing is atomic.

A checkpoint folder has a sub-folder for each student (`weights`, `optimizer`, `average`, `best` tensors and
`student.json`) and `checkpoint.json` with the checksums of all files and its own. Nothing is unpickled.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from side4video.core.disk_errors import explain_disk_error
from side4video.core.errors import InputError, Side4VideoError
from side4video.core.files import CHECKSUM_KEY, corrupted_files, file_checksums, has_valid_checksum, with_checksum
from side4video.engine.student import Student

FORMAT = 2
WITHOUT_CHECKSUMS = 1
"""The previous format, which is read without a check."""


class CheckpointError(Side4VideoError):
    """A checkpoint cannot be written, most likely because the disk is full (exit code 2)."""

    exit_code = 2


class CorruptedCheckpointError(InputError):
    """A checkpoint differs from what was written."""


def save_checkpoint(
    folder: Path, students: Mapping[str, Student], state: Mapping[str, Any], *, beside: Path | None = None
) -> Path:
    """Write `folder` atomically: it is complete, or it does not exist.

    Students are by name, and only what they train is written. `state` are JSON values for resuming, such as the next
    step and digests. The files of `beside`, a folder of the same layout (best weights, predictions), are copied.

    Returns:
        The folder.

    Raises:
        CheckpointError: If it cannot be written; an existing folder is kept.
    """
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _write(partial, students, state, beside)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_write(folder, error) from error
    return folder


def cannot_write(folder: Path, error: Exception) -> CheckpointError:
    """The error for a checkpoint that cannot be written into a folder."""
    explained = explain_disk_error(error, place=folder)
    reason = explained.found if explained else " ".join(str(error).split())[:200]
    return CheckpointError(
        f"{folder}: the checkpoint cannot be written: {reason} · fix: make room, or change cluster.storage or TMPDIR; "
        "then continue with --resume"
    )


def keep_checkpoint(checkpoint: Path, folder: Path, *, step: int, max_checkpoints: int) -> Path:
    """Copy a checkpoint atomically into a run's folder, which keeps the newest `max_checkpoints`.

    `step` is the step to resume from, and part of the copy's name.

    Returns:
        The folder of the copy.

    Raises:
        CheckpointError: If it cannot be written; existing checkpoints are kept.
    """
    checkpoint_folder = folder / f"checkpoint-{step:012d}"
    partial = folder / f"{checkpoint_folder.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(checkpoint, partial)
        shutil.rmtree(checkpoint_folder, ignore_errors=True)
        partial.rename(checkpoint_folder)
    except OSError as error:  # shutil.Error of copytree is an OSError
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_write(checkpoint_folder, error) from error
    for old in checkpoints_in(folder)[max_checkpoints:]:
        shutil.rmtree(old, ignore_errors=True)
    return checkpoint_folder


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, newest first (names sort by step). They may be damaged."""
    found = (each for each in folder.glob("checkpoint*") if each.is_dir() and each.suffix != ".partial")
    return sorted(found, key=lambda each: each.name, reverse=True)


def _write(partial: Path, students: Mapping[str, Student], state: Mapping[str, Any], beside: Path | None) -> None:
    if beside is not None and beside.is_dir():
        shutil.copytree(beside, partial)
    for name, student in students.items():
        save_student(partial / name, student)
    partial.mkdir(parents=True, exist_ok=True)
    _write_json(
        partial / "checkpoint.json", with_checksum({"format": FORMAT, **state, "files": file_checksums(partial)})
    )


def save_student(folder: Path, student: Student) -> None:
    """Write what a student trains, and its optimizer, into its folder of a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(student.module), folder / "weights.safetensors")
    if student.average is not None:
        save_file(_tensors(student.average), folder / "average.safetensors")
    save_file(_optimizer_tensors(student), folder / "optimizer.safetensors")
    scalars = {
        "state": student.state,
        "skipped": student.skipped,
        "scaler": student.scaler.state_dict(),
        "memory": student.memory_metrics(),
    }
    _write_json(folder / "student.json", scalars)


def read_state(folder: Path) -> dict[str, Any]:
    """Check the files of a checkpoint and return its JSON state.

    Raises:
        CorruptedCheckpointError: If the folder has no checkpoint, or a damaged one.
        InputError: If it has another format.
    """
    path = folder / "checkpoint.json"
    if not path.is_file():
        raise CorruptedCheckpointError(str(folder), "no checkpoint.json in it", allowed="a folder written by a run")
    try:
        state = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptedCheckpointError(str(path), f"not a JSON document: {error}") from error
    if not isinstance(state, dict):
        raise CorruptedCheckpointError(str(path), "not a JSON object")
    has_sums = bool({"files", CHECKSUM_KEY} & state.keys())
    if state.get("format") == WITHOUT_CHECKSUMS and not has_sums:
        return state
    if state.get("format") == FORMAT or has_sums:
        if not has_valid_checksum(state):
            raise CorruptedCheckpointError(str(path), "checkpoint.json has other content than was written")
        if wrong := corrupted_files(folder, state["files"]):
            raise CorruptedCheckpointError(str(folder), "; ".join(wrong))
    if state.get("format") != FORMAT:
        raise InputError(
            str(path), f"checkpoint format {state.get('format')!r}", allowed=f"{WITHOUT_CHECKSUMS}, {FORMAT}"
        )
    return state


def restore_student(folder: Path, student: Student) -> None:
    """Restore a new student from a checkpoint, bit-exact."""
    checkpoint_folder = folder / student.name
    load_tensors(student.module, checkpoint_folder / "weights.safetensors")
    if student.average is not None:
        load_tensors(student.average, checkpoint_folder / "average.safetensors")
    scalars = json.loads((checkpoint_folder / "student.json").read_text(encoding="utf-8"))
    if student.scaler.is_enabled():
        student.scaler.load_state_dict(scalars["scaler"])
    student.skipped = scalars["skipped"]
    student.memory_before = dict(scalars.get("memory", {}))
    tensors = load_file(checkpoint_folder / "optimizer.safetensors")
    names = {name: parameter for name, parameter in student.module.named_parameters() if parameter.requires_grad}
    for name, parameter in names.items():
        prefix = f"{name}/"
        entries = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if entries:
            # AdamW keeps its step counter on the host and its moments on the parameter's device.
            student.optimizer.state[parameter] = {
                key: value.clone() if key == "step" else value.to(parameter.device) for key, value in entries.items()
            }
    if scalars["state"] != "training":
        student.stop(scalars["state"])


def load_tensors(module: nn.Module, path: Path) -> None:
    """Fill a module's parameters and buffers from a file, strictly.

    Raises:
        InputError: If a tensor is missing, unexpected, or has another shape.
    """
    if not path.is_file():
        raise InputError(str(path), "no such file", fix="the checkpoint is incomplete: choose another one")
    fill_tensors(module, load_file(path), path)


def fill_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill a module's parameters and buffers strictly, with tensors that were read from `path`.

    Raises:
        InputError: If a tensor is missing, unexpected, or has another shape.
    """
    expected = _tensors(module)
    wrong = sorted(
        key
        for key in expected.keys() | tensors.keys()
        if key not in expected or key not in tensors or expected[key].shape != tensors[key].shape
    )
    if wrong:
        raise InputError(
            str(path),
            f"{len(wrong)} tensors do not fit this spec, the first is {wrong[0]}",
            fix="use the spec that the checkpoint was written with (the run has it as spec.json)",
        )
    module.load_state_dict(dict(tensors))


def save_tensors(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(module), path)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}


def _optimizer_tensors(student: Student) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": torch.as_tensor(value).detach().contiguous()
        for name, parameter in student.module.named_parameters()
        for key, value in student.optimizer.state.get(parameter, {}).items()
    }


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
