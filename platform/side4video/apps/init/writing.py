"""Puts an experiment file together: what the source holds, how it is divided, what fits this machine."""

import copy
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.apps.init.data_notes import broken_notes, label_notes
from side4video.apps.init.division import DividedData, divide
from side4video.apps.init.document import as_yaml
from side4video.apps.init.found_data import FoundData, TaskKind, absolute_text, plain_path
from side4video.apps.init.memory import fit_memory
from side4video.apps.init.settings import Draft, Weights, counts_text, machine_text, make_draft
from side4video.apps.init.source import find_data
from side4video.apps.init.video_folders import TRAIN_NAMES
from side4video.apps.init.video_lists import as_json_lines
from side4video.apps.init.video_sample import Opener, VideoSample, look_at_videos
from side4video.apps.init.weights import choose_weights
from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.progress import SILENT, Progress
from side4video.core.units import GIB, format_bytes
from side4video.data.clip import Clip
from side4video.data.storage import byte_range, is_remote
from side4video.planning.plan import ExperimentPlan
from side4video.spec.check_videos import check_experiments
from side4video.spec.load import apply_override, parse_experiment
from side4video.spec.machine import Machine, this_machine

CHECKED_CLIPS = 20_000
"""Larger sets are not checked again after writing: the check looks for all files."""

_PLAIN_NAMES = {"annotations", "captions", "clips", "data", "index", "labels", "list", "train", "videos"}


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    source: str
    task: TaskKind | None = None
    out: str | None = None
    """The file to write; None names it after the source."""
    force: bool = False
    """Whether to overwrite the file."""
    overrides: tuple[str, ...] = ()
    """`dotted.path=value`, of the document."""


@dataclass(frozen=True)
class NewExperiment:
    """An experiment file that was written, and what it came from."""

    path: Path
    document: dict[str, Any]
    lines: list[tuple[str, str]]
    """What was found and chosen: a word and a sentence each."""
    notes: list[str]
    next_steps: list[tuple[str, str]]
    """Commands, and what each is for, in their order."""
    clips: dict[str, int]
    """Clips of each split."""
    broken: dict[str, str]
    """Videos of the sample that cannot be read, and why."""
    planned_gib: float
    """Memory of one worker, in GiB."""

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "file": str(self.path),
            "document": self.document,
            "found": dict(self.lines),
            "clips": self.clips,
            "broken": self.broken,
            "planned_memory_gib": self.planned_gib,
            "notes": self.notes,
            "next": [command for command, _ in self.next_steps],
        }


def init_experiment(
    request: Request,
    *,
    progress: Progress = SILENT,
    machine: Machine | None = None,
    weights: Weights | None = None,
    opener: Opener | None = None,
) -> NewExperiment:
    """Look at a source and write an experiment file for it.

    Args:
        request: What to look at, and what to write.
        progress: Told the name of each phase.
        machine: What the file is for; this machine by default.
        weights: Those to name; by default those that are here or can be downloaded.
        opener: What opens the videos of the sample; processes by default.

    Raises:
        InputError: There is nothing to train on, a file would be overwritten, or the document would not be valid.
    """
    settings: dict[str, Any] = {}
    for override in request.overrides:
        apply_override(settings, override)
    given = _section(settings, "data", "dataset")
    progress.report("looking at the source")
    task = request.task or _section(settings, "task").get("kind")
    found = find_data(request.source, task=task, given=given)
    name = experiment_name(Path(request.out).stem if request.out else _name_of(plain_path(found.place)))
    path = _target(request, name)
    with _NewList(found, path, force=request.force) as listed:
        divided = divide(found, _with_settings({**found.dataset, **listed}, request.overrides))
        progress.report("opening a sample of the videos")
        sample = look_at_videos(_there(divided.all_clips, found), opener=opener)
        _refuse_all_broken(sample, found)
        progress.report("looking at the machine")
        machine = machine or this_machine()
        weights = weights or choose_weights(machine)
        draft = make_draft(name, found, divided, sample=sample, machine=machine, weights=weights)
        _apply(draft, request.overrides)
        parse_experiment(draft.document, source=str(path))
        progress.report("planning its memory")
        is_batch_given = bool(_section(settings, "optimization").keys() & {"batch_size", "accumulation"})
        plan = fit_memory(draft, machine, classes=max(1, len(divided.classes)), is_batch_given=is_batch_given)
        experiment = parse_experiment(draft.document, source=str(path))
        if len(divided.all_clips) <= CHECKED_CLIPS:
            check_experiments([("", experiment)])
        new = _described(path, draft, found, divided, sample=sample, machine=machine, weights=weights, plan=plan)
        head = [
            f"Written by `side4video init` for {found.what}: {found.place}",
            *(f"  {command}" for command, _ in new.next_steps),
            *new.notes,
            "All fields are in docs/reference/experiment.md.",
        ]
        _write(path, as_yaml(draft.document, draft.comments, head), force=request.force)
    return new


def _there(clips: Sequence[Clip], found: FoundData) -> Sequence[Clip]:
    """The clips to open: of a list, those that are there; a note tells how many are not."""
    if not found.missing_share or found.place.is_dir():
        return clips
    return [clip for clip in clips if is_remote(clip.path) or byte_range(clip.path) or Path(clip.path).exists()]


def experiment_name(text: str) -> str:
    """A text as the name of an experiment: letters, digits, dot, dash and underscore."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60].strip("-._")
    return plain or "my-clips"


def _name_of(place: Path) -> str:
    """The name of a folder, or of a list; one with a name that says nothing is called like the folder it is in."""
    if not place.is_file():
        return place.parent.name if place.name.lower() in TRAIN_NAMES else place.name
    return place.parent.name if place.stem.lower() in _PLAIN_NAMES else place.stem


def _section(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """A section of what the user has set; empty if nothing of it is set."""
    for name in names:
        document = document.get(name) or {}
        if not isinstance(document, dict):
            return {}
    return document


def _target(request: Request, name: str) -> Path:
    path = Path(request.out or f"{name}.yaml")
    if path.is_dir():
        raise InputError("--out", f"{path} is a folder", allowed="a file", fix=f"-o {path / f'{name}.yaml'}")
    _refuse_existing(path, force=request.force)
    return path


def _refuse_existing(path: Path, *, force: bool) -> None:
    if not force and (path.exists() or path.is_symlink()):
        raise InputError(str(path), "it exists", fix="name another file with -o, or overwrite it with --force")


class _NewList:
    """The list that a document needs beside it, if there is one; it is removed if the document is not written."""

    def __init__(self, found: FoundData, path: Path, *, force: bool) -> None:
        self.found, self.path, self.force = found, path.with_suffix(".jsonl"), force
        self._was_written = False

    def __enter__(self) -> dict[str, Any]:
        if not self.found.new_list:
            return {}
        _write(self.path, as_json_lines(self.found.new_list), force=self.force)
        self._was_written = True
        root = self.found.dataset.get("root") or absolute_text(self.found.place.absolute().parent)
        return {"annotations": absolute_text(self.path), "root": root}

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._was_written:
            with suppress(OSError):
                self.path.unlink()


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write a file that is not there yet, or any file if `force` is true."""
    with explaining_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if force:
            write_atomically(path, text)
            return
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            _refuse_existing(path, force=False)


def _with_settings(dataset: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """The section `data.dataset` with what the user has set of it."""
    document: dict[str, Any] = {"data": {"dataset": copy.deepcopy(dataset)}}
    for override in overrides:
        if override.startswith(("data.dataset.", "data.dataset=")):
            apply_override(document, override)
    return document["data"]["dataset"]


def _refuse_all_broken(sample: VideoSample, found: FoundData) -> None:
    if sample.facts and not sample.good:
        path, reason = next(iter(sample.broken.items()))
        raise InputError(
            str(found.place),
            f"none of {len(sample.facts)} videos that were opened can be read; {path}: {reason}",
            allowed="videos in a format of FFmpeg",
            fix="see docs/video-files.md",
        )


def _apply(draft: Draft, overrides: tuple[str, ...]) -> None:
    """Change the draft as the user said; comments about what is changed are dropped."""
    for override in overrides:
        apply_override(draft.document, override)
        path = override.partition("=")[0].strip()
        for name in list(draft.comments):
            if f"{name}.".startswith(f"{path}."):
                del draft.comments[name]
        draft.comments[path] = ["Set by --set."]


def _described(
    path: Path,
    draft: Draft,
    found: FoundData,
    divided: DividedData,
    *,
    sample: VideoSample,
    machine: Machine,
    weights: Weights,
    plan: ExperimentPlan,
) -> NewExperiment:
    backbone, optimization = draft.document["backbone"], draft.document["optimization"]
    named = {"kind": "pretrained", "tag": weights.tag}
    is_ours = backbone.get("model") == weights.model and backbone.get("weights") == named
    parts = optimization.get("accumulation", 1)
    planned = plan.reserved_memory_gib
    batch = f"batches of {optimization['batch_size']} clips{f' in {parts} parts' if parts > 1 else ''}"
    lines = [
        ("found", found.what + (f", {len(divided.classes)} classes" if divided.classes else "")),
        ("clips", counts_text(divided)),
        ("split", divided.text),
        ("videos", sample.as_text()),
        ("machine", machine_text(machine)),
        ("plan", f"{batch}, {format_bytes(planned * GIB)} for training"),
        *([("weights", f"{weights.model} ({weights.tag}). {weights.text}")] if is_ours else []),
        ("written", str(path)),
    ]
    notes = [*found.notes, *divided.notes, *draft.notes, *label_notes(divided)]
    notes += broken_notes(sample, divided, plain_path(found.place))
    if found.new_list:
        notes.append(f"the list was written to {path.with_suffix('.jsonl')} in a form that runs read")
    return NewExperiment(
        path=path,
        document=draft.document,
        lines=lines,
        notes=notes,
        next_steps=next_steps(path, get_weights=weights.get_command if is_ours else ""),
        clips=divided.counts,
        broken=sample.broken,
        planned_gib=planned,
    )


def next_steps(path: Path, *, get_weights: str = "") -> list[tuple[str, str]]:
    """The commands that use the file, as they are typed into a shell, and what each is for.

    `get_weights` is the command that gets the weights, if a run could not.
    """
    text = str(path)
    name = shlex.quote(f"./{text}" if text.startswith("-") else text)
    return [
        *([(get_weights, "get the weights, where there is a network; a run needs them")] if get_weights else []),
        (f"side4video validate {name}", "check the file"),
        (f"side4video plan {name}", "estimate memory, compute and time"),
        (f"side4video run {name}", "train, evaluate and record"),
    ]
