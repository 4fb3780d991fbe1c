"""The card of an exported model: a header that the Hugging Face hub reads, and a page that people read."""

from typing import Any

import yaml

from side4video.core.text import escape_markdown, markdown_code, printable
from side4video.data.annotations.tables import shorten_list
from side4video.spec.bundle import GRAPH, Bundle, needed_plugins
from side4video.spec.chance import metric_name, reached_by_all
from side4video.spec.experiment import Experiment
from side4video.tasks.multi_head.metrics import OF_HEADS
from side4video.tracking.chosen_weights import test_area

SCORES = {
    "recognition": "softmax",
    "multi-label": "a sigmoid of each class",
    "multi-head": "a softmax of each head, one head after the other",
}
"""What scores are, by the kind of the task."""
USAGE = """import side4video

model = side4video.load("this folder")
for found in model.predict(["a.mp4"]):
    print(found.video, found.labels)"""
"""How a folder with a classifier is asked, in Python."""
LABELS_USAGE = USAGE.replace('["a.mp4"]', '["a.mp4"], threshold=0.5')
HEADS_USAGE = USAGE.replace("found.labels", "found.labels, found.head_labels")
RETRIEVAL_USAGE = """import side4video

model = side4video.load("this folder", task="retrieval")
for found in model.search("a dog catches a ball", "videos"):
    print(found.video, found.score)"""
"""How a folder with a retrieval model is asked, in Python."""
_USAGES = {
    "recognition": USAGE,
    "retrieval": RETRIEVAL_USAGE,
    "multi-label": LABELS_USAGE,
    "multi-head": HEADS_USAGE,
}


def model_card(bundle: Bundle, spec: Experiment, *, license_name: str = "", speed: str = "") -> str:
    """The page of `model_page` behind a header of the hub.

    `license_name` is the hub's name of a licence; if it is empty, none is guessed. `speed` is what was measured.
    """
    header = yaml.safe_dump(card_header(bundle, spec, license_name=license_name), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{model_page(bundle, spec, speed=speed)}"


def model_page(bundle: Bundle, spec: Experiment, *, usage: str = "", speed: str = "") -> str:
    """What a person should know of the model before using it, as Markdown.

    `usage` is Python code that uses the model; empty for that of a folder. `speed` is a line of `apps.export.speed`;
    empty leaves the section out.
    """
    left_out = reached_by_all(spec.task.kind, len(bundle.classes))
    usage = usage or _USAGES[spec.task.kind]
    shown = [(name, bundle.figures[name]) for name in _shown_metrics(bundle, spec) if name in bundle.figures]
    shown = [(name, value) for name, value in shown if metric_name(name) not in left_out]
    table = "".join(f"| `{name}` | {value:.6g} |\n" for name, value in shown)
    weights = spec.backbone.weights.identity()
    origin = "".join(f"- {name}: {markdown_code(str(value))}\n" for name, value in bundle.origin.items() if value)
    return (
        f"# {escape_markdown(bundle.name)}\n\n"
        f"A `{spec.method.kind}` network on a frozen {markdown_code(_tower(spec))} tower, "
        f"for {spec.task.kind} with side4video.\n\n"
        f"```python\n{_with_plugins(usage, spec)}\n```\n\n"
        f"{_about_graph(bundle, spec) if bundle.graph else ''}"
        f"## What it was trained on\n\n{origin}\n"
        f"- frames: {spec.data.frames} of {spec.data.size} x {spec.data.size} pixels; "
        f"views in test: {spec.data.views.clips} clips x {spec.data.views.crops} crops\n"
        f"- backbone: {escape_markdown(weights)}, fingerprint {markdown_code(bundle.backbone_sha256)}\n"
        f"{_about_answers(bundle, spec)}\n"
        f"## What it measured\n\n| metric | value |\n|---|---:|\n{table}\n"
        "Fractions are fractions. These are figures of the data set above and its protocol; of other videos they say "
        "nothing. The licence of the backbone's weights and of the data set are their makers' own.\n"
        f"{_about_speed(speed) if speed else ''}"
    )


def _shown_metrics(bundle: Bundle, spec: Experiment) -> list[str]:
    """The metrics of the page, where the run has them."""
    metrics = spec.task.metrics
    shown = [f"best/{metrics[0].name}", *(f"eval/{each.name}" for each in metrics if each.hub or bundle.heads)]
    if spec.task.kind == "retrieval":
        return [shown[0], *(f"eval/{each.name}" for each in metrics)]
    shown += [f"eval/{head}_{end}" for head in bundle.heads for end in OF_HEADS]
    return [*shown, "eval/loss", "eval/videos"]


def _about_answers(bundle: Bundle, spec: Experiment) -> str:
    """A line about the classes, or about the texts."""
    if spec.task.kind == "retrieval":
        return f"- texts: up to {spec.task.words} tokens; matching: {spec.task.matching.kind}\n"
    groups = {f"classes of {head}": names for head, names in bundle.heads.items()} or {"classes": bundle.classes}
    return "".join(
        f"- {group} ({len(names)}): {escape_markdown(shorten_list(names))}\n" for group, names in groups.items()
    )


def _with_plugins(usage: str, spec: Experiment) -> str:
    """The code with the permission for plug-ins, which it needs where the document names some."""
    if not (named := ", ".join(f'"{each}"' for each in needed_plugins(spec, "this folder"))):
        return usage
    allowing = f"side4video.allow_plugins({named})  # Python code, which runs: look at it first\n"
    return usage.replace("model = ", f"{allowing}model = ", 1)


def card_header(bundle: Bundle, spec: Experiment, *, license_name: str = "") -> dict[str, Any]:
    """The hub's metadata of a model: library, task, tags, and figures in the form of its model index.

    Only figures of the weights that are exported stand in it.
    """
    area = test_area(bundle.figures, "best" if bundle.origin.get("weights") == "best" else "last")
    left_out = reached_by_all(spec.task.kind, len(bundle.classes))
    measured = [
        (each.hub, bundle.figures[f"{area}/{each.name}"])
        for each in spec.task.metrics
        if each.hub and f"{area}/{each.name}" in bundle.figures and each.name not in left_out
    ]
    header: dict[str, Any] = {"license": license_name} if license_name else {}
    if spec.task.kind == "retrieval":  # the hub has no kind of task for it
        tags = ["side4video", "video-text-retrieval", spec.method.kind, printable(_tower(spec))]
        return {**header, "library_name": "side4video", "tags": tags}
    header |= {
        "library_name": "side4video",
        "pipeline_tag": "video-classification",
        "tags": ["side4video", "video-classification", "action-recognition", spec.method.kind, printable(_tower(spec))],
    }
    if measured:
        header["metrics"] = sorted({hub[0] for hub, _ in measured})
        result = {
            "task": {"type": "video-classification", "name": "Video Classification"},
            "dataset": {"type": spec.data.dataset.kind, "name": spec.data.dataset.kind, "split": "test"},
            "metrics": [{"type": hub[0], "name": hub[1], "value": round(value, 6)} for hub, value in measured],
        }
        header["model-index"] = [{"name": printable(bundle.name), "results": [result]}]
    return header


def _about_speed(speed: str) -> str:
    parts = "".join(f"- {escape_markdown(part)}\n" for part in speed.split("; "))
    return (
        f"\n## How fast it is\n\n{parts}\n"
        "Measured when it was exported. Decoding, resizing and cropping are measured apart from the network, which had "
        "frames that were made up. Another machine, or several videos at a time, give other values.\n"
    )


def _about_graph(bundle: Bundle, spec: Experiment) -> str:
    frames, size = spec.data.frames, spec.data.size
    return (
        f"`{GRAPH}` is tower, network and head as one graph, without any code of side4video:\n\n"
        f'```python\nimport torch\n\nscores = torch.export.load("{GRAPH}").module()\n'
        f"frames = torch.zeros(1, {frames}, 3, {size}, {size}, dtype=torch.uint8)\n"
        "scores(frames)  # [clips, classes]\n```\n\n"
        f"Frames are RGB, resized and cropped, of any number of clips. Scores are {SCORES[spec.task.kind]} of one "
        "view; a video's score is the mean over its views.\n\n"
        f"When it was exported, {escape_markdown(bundle.graph)}. It is of a CPU; "
        "`torch.export.passes.move_to_device_pass` moves it. Open it only if you trust who gave it to you.\n\n"
    )


def _tower(spec: Experiment) -> str:
    return str(getattr(spec.backbone, "model", spec.backbone.kind))
