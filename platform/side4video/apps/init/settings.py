"""Chooses backbone, method, frames, precision and loader for data and a machine, with a comment for each choice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

from side4video.apps.init.division import DividedData
from side4video.apps.init.found_data import FoundData
from side4video.apps.init.video_sample import VideoSample
from side4video.core.units import format_bytes
from side4video.data.annotations.tables import shorten_list
from side4video.models.backbones.open_clip_models import read_config
from side4video.spec.machine import Machine

FRAMES, FEW_FRAMES, MANY_FRAMES = 8, 4, 16
LONG_SECONDS = 15.0
"""Clips of this length are sampled more densely, where there is a GPU."""
MAX_BATCH = 32
"""Videos of a batch for each worker."""
SMALL_SET = 500
"""Sets of fewer clips are trained for about `SMALL_SET_STEPS` steps, in `SMALL_SET_EPOCHS` epochs."""
SMALL_SET_STEPS = 100
SMALL_SET_EPOCHS = (10, 30)
"""The fewest and the most."""
STEPS_PER_EPOCH = 4
"""An epoch has at least so many steps, if there are enough videos."""
MAX_LOADER_WORKERS = 8
ON_GPU = (("ViT-B-16-quickgelu", "openai"), ("ViT-B-16", "laion2b_s34b_b88k"), ("ViT-B-32-quickgelu", "openai"))
ON_CPU = (("ViT-B-32-quickgelu", "openai"), ("ViT-B-32", "laion2b_s34b_b79k"), ("ViT-B-16-quickgelu", "openai"))
"""Models and weights, the preferred ones first."""


@dataclass(frozen=True)
class Weights:
    """The weights that a document names, and whether they are on this machine."""

    model: str
    tag: str
    text: str
    """Where they are, or how to get them; for people."""
    is_here: bool
    get_command: str = ""
    """The command that gets them, where a run could not; empty if they are here, or a run downloads them."""


@dataclass
class Draft:
    """A document that is being put together."""

    document: dict[str, Any]
    comments: dict[str, list[str]] = field(default_factory=dict)
    """By dotted path."""
    notes: list[str] = field(default_factory=list)
    """What a user should know."""


def preferred(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Models and weights for a machine, the preferred ones first."""
    return ON_GPU if machine.gpus else ON_CPU


def make_draft(
    name: str,
    found: FoundData,
    divided: DividedData,
    *,
    sample: VideoSample,
    machine: Machine,
    weights: Weights,
) -> Draft:
    """The whole document but for the batch, which depends on a plan of its memory."""
    draft = Draft({"name": name, "task": {"kind": found.task}})
    draft.comments["task"] = [_task_comment(found, divided)]
    _add_models(draft, found, machine, weights)
    _add_data(draft, found, divided, sample=sample, machine=machine)
    _add_optimization(draft, found, divided, machine)
    return draft


def _task_comment(found: FoundData, divided: DividedData) -> str:
    if found.task == "retrieval":
        return "Find videos by text, and texts by video."
    return f"Tell {len(divided.classes)} classes apart: {shorten_list(divided.classes)}."


def _add_models(draft: Draft, found: FoundData, machine: Machine, weights: Weights) -> None:
    size = read_config(weights.model)["vision_cfg"]
    draft.document["backbone"] = {
        "kind": "open-clip",
        "model": weights.model,
        "weights": {"kind": "pretrained", "tag": weights.tag},
        "precision": _precision(machine, tower=True),
    }
    patch = size.get("patch_size", 16)
    why = "" if machine.gpus else ", which is quick enough for a CPU; with a GPU, ViT-B-16-quickgelu is better"
    draft.comments["backbone"] = [f"The frozen image model: CLIP with patches of {patch} pixels{why}."]
    draft.comments["backbone.weights"] = [
        weights.text,
        "Of a file: {kind: file, path: ...}. Weights in the formats of open_clip and OpenAI are read.",
    ]
    sizes = {"layers": 12, "dim": 320} if machine.gpus else {"layers": 6, "dim": 192}
    own = {"preset": "authors"} if found.task == "retrieval" else {}
    draft.document["method"] = {"kind": "side4video", **own, **sizes}
    draft.comments["method"] = [
        f"What is trained: a side network of {'the size in the paper' if machine.gpus else 'a small size'}. Others: "
        "side4video list methods"
    ]


def _precision(machine: Machine, *, tower: bool) -> str:
    if not machine.gpus:
        return "fp32"
    if all(gpu.has_bfloat16 for gpu in machine.gpus):
        return "bf16"
    return "fp32" if tower else "fp16"


def _add_data(draft: Draft, found: FoundData, divided: DividedData, *, sample: VideoSample, machine: Machine) -> None:
    data: dict[str, Any] = {"dataset": divided.dataset}
    draft.comments["data"] = [f"{found.what.capitalize()}: {counts_text(divided)}. Videos: {sample.as_text()}."]
    draft.comments["data.dataset"] = [
        f"The split: {divided.text}.",
        "A relative path would begin in the folder that a command is called in.",
    ]
    if found.task == "retrieval":
        data["recipe"] = "retrieval"
        draft.comments["data.recipe"] = ["12 frames of each video and no augmentation, as in the paper."]
    else:
        data["frames"], draft.comments["data.frames"] = _frames(sample, machine)
        if not divided.can_flip:
            data["augmentation"] = {"flip_probability": 0.0}
            draft.comments["data.augmentation"] = ["Classes tell left from right, so clips are not mirrored."]
    broken = max(sample.broken_share, found.missing_share if divided.dataset["kind"] in ("list", "folder") else 0.0)
    if broken:
        cap = min(1.0, round(2 * broken + 0.01, 2))
        data["broken_clips"] = {"kind": "skip", "cap": cap}
        draft.comments["data.broken_clips"] = [
            "Videos that cannot be read are left out. A run stops if more than this share of them is broken."
        ]
    cores = machine.cores // max(1, len(machine.gpus))
    data["loader"] = {"workers": max(0, min(MAX_LOADER_WORKERS, cores - 1))}
    draft.comments["data.loader"] = [f"Processes that decode videos; {machine.cores} cores can be used here."]
    draft.document["data"] = data


def counts_text(divided: DividedData) -> str:
    """`40 videos: 28 for training, 4 for validation, 8 for test`."""
    words = {"train": "training", "val": "validation", "test": "test"}
    each = ", ".join(f"{count:,} for {words[split]}" for split, count in divided.counts.items())
    return f"{sum(divided.counts.values()):,} clips, {each}"


def _frames(sample: VideoSample, machine: Machine) -> tuple[int, list[str]]:
    lengths = [each.seconds for each in sample.good if each.seconds]
    counts = [each.frames for each in sample.good if each.frames]
    if counts and median(counts) < FRAMES:
        return FEW_FRAMES, [f"Frames of each clip; most videos have fewer than {FRAMES}."]
    if machine.gpus and lengths and median(lengths) > LONG_SECONDS:
        return MANY_FRAMES, [f"Frames of each clip, evenly spread; most videos are longer than {LONG_SECONDS:g} s."]
    return FRAMES, ["Frames of each clip, evenly spread."]


def _add_optimization(draft: Draft, found: FoundData, divided: DividedData, machine: Machine) -> None:
    workers = len(machine.gpus) or 1
    training = len(divided.clips["train"])
    if training < STEPS_PER_EPOCH * workers:
        workers = 1
    batch = max(workers, _power_of_two(min(MAX_BATCH * workers, training // STEPS_PER_EPOCH)) // workers * workers)
    recipe = "retrieval" if found.task == "retrieval" else "ssv2-vitb16"
    draft.document["optimization"] = {
        "recipe": recipe,
        "batch_size": min(batch, training),
        "warmup": {"share": 0.1},
        "precision": _precision(machine, tower=False),
    }
    is_small = sum(divided.counts.values()) < SMALL_SET
    draft.comments["optimization"] = [
        f"Learning rate{'' if is_small else ' and epochs'} as in the paper; fields that you add here take precedence."
    ]
    draft.comments["optimization.warmup"] = [
        "The learning rate rises during a tenth of the training, however short that is."
    ]
    if is_small:
        steps = max(1, training // min(batch, training))
        fewest, most = SMALL_SET_EPOCHS
        epochs = min(most, max(fewest, ceil(SMALL_SET_STEPS / steps)))
        draft.document["optimization"]["length"] = {"epochs": epochs}
        draft.comments["optimization.length"] = [
            f"Few clips, so {epochs} epochs. More or fewer for one run: side4video run FILE --epochs 4"
        ]
    if workers > 1:
        draft.document["cluster"] = {"workers": workers}
        draft.comments["cluster"] = [f"One training process for each of the {workers} GPUs."]
    elif len(machine.gpus) > 1:
        draft.notes.append(f"one of {len(machine.gpus)} GPUs is used, because there are few videos")


def _power_of_two(limit: int) -> int:
    return 1 << max(0, limit.bit_length() - 1)


def machine_text(machine: Machine) -> str:
    """`2 x NVIDIA H200 with 139.7 GiB, 16 cores, 128.0 GiB of memory`."""
    return ", ".join(
        [
            _gpus_text([gpu.name for gpu in machine.gpus], [gpu.memory_bytes for gpu in machine.gpus]),
            f"{machine.cores} core{'' if machine.cores == 1 else 's'}",
            f"{format_bytes(machine.memory_bytes)} of memory",
        ]
    )


def _gpus_text(names: Sequence[str], sizes: Sequence[int]) -> str:
    if not names:
        return "no GPU"
    return f"{f'{len(names)} x ' if len(names) > 1 else ''}{names[0]} with {format_bytes(min(sizes))}"
