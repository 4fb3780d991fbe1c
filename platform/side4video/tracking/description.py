"""The description of a run in MLflow's pages, as Markdown.

MLflow stores it in a tag. Links start with `#` and figures with `get-artifact`, so they work on any server.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.core.text import markdown_code, printable
from side4video.core.units import GIB, format_bytes, format_duration
from side4video.spec.chance import always_reached, metric_name
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import METRICS, head_accuracies
from side4video.tracking.chosen_weights import describe_weights, has_validation, tested_weights
from side4video.tracking.mlflow.links import compare_link, experiment_link
from side4video.tracking.mlflow.parameters import TAG_LIMIT
from side4video.tracking.redaction import redact_command

SMALL_FIGURES = "note"
"""Artifact folder of a sweep with figures as wide as a description, because MLflow does not scale them."""

FIGURE_PIXELS = 760
"""Width of these figures."""

ON_A_CPU = "Peak memory: predicted for a GPU, with cuBLAS's workspace; measured as the tensors of a step, on a CPU."

PROGRAMS = ("side4video", "__main__.py")


@dataclass(frozen=True)
class RunSummary:
    """Facts about a run that are known before it starts."""

    setup: str
    """Method, backbone, data, protocol."""
    predicted: Mapping[str, float]
    """The plan's values, by field name."""
    pack_predicted: Mapping[str, float]
    """Predicted metrics of its pack (`plan/pack_*`)."""
    command: str
    """The user's command; empty if it was another program."""
    left_out: frozenset[str] = frozenset()
    """Names of metrics that say nothing, such as top-5 of two classes."""

    @classmethod
    def of(
        cls,
        spec: Experiment,
        plan: Mapping[str, Any],
        *,
        protocol: str,
        pack_predicted: Mapping[str, float],
        command: str,
    ) -> "RunSummary":
        """From a spec and its plan."""
        backbone = getattr(spec.backbone, "model", spec.backbone.kind)
        tower = markdown_code(str(backbone))
        setup = f"`{spec.method.kind}` on a frozen {tower}, `{spec.data.dataset.kind}` data, {protocol}"
        predicted = {name: value for name, value in plan.items() if isinstance(value, int | float)}
        return cls(setup, predicted, pack_predicted, command, always_reached(spec))


def current_command(words: Sequence[str] | None = None) -> str:
    """The command line of this process, without secrets; empty if it is another program."""
    called = list(sys.argv if words is None else words)
    if not called or Path(called[0]).name not in PROGRAMS:
        return ""
    return redact_command(shlex.join(["side4video", *called[1:]]))


def run_description(about: RunSummary, run_id: str, result: Mapping[str, Any]) -> str:
    """The description of a run with a result.

    `result` is an `engine.result.TrainingResult` as a mapping.
    """
    state = result["state"]
    metrics = {key: value for key, value in result["metrics"].items() if metric_name(key) not in about.left_out}
    parts = [_title(metrics) if state == "finished" else f"**{state}** · {_title(metrics)}"]
    parts += [about.setup, _figures(about, result)]
    if about.pack_predicted.get("plan/pack_arms", 1.0) > 1:
        parts.append(f"Trained in one pack with {about.pack_predicted['plan/pack_arms'] - 1:.0f} other arms.")
    parts += [f"- {note}" for note in result.get("notes", ())]
    short = run_id[:8]
    commands = [f"side4video evaluate {short}"]
    if f"eval/{METRICS[0].name}" in result["metrics"]:
        commands += [f"side4video predict {short} VIDEO...", f"side4video register {short}"]
    if state == "finished":
        parts.append(_code(["# use it", *commands]))
    return _with_command(parts, about.command)


def failure_description(about: RunSummary, reason: str, *, killed: bool) -> str:
    """The description of a run without a result."""
    state = "Interrupted" if killed else "Failed"
    return _with_command([f"**{state}**: {_plain(reason)[:1000]}", about.setup], about.command)


def reused_description(note: str, source: str, experiment_id: str) -> str:
    """The description of an arm whose result was copied from another run."""
    link = f"#/experiments/{experiment_id}/runs/{source}"
    return _cut(f"Copied from [run {source[:8]}]({link}), which ran the same experiment.\n\n{note}".rstrip())


def sweep_description(
    comparison: str,
    *,
    run_id: str,
    experiment_id: str,
    arms: Sequence[str],
    metrics: Sequence[str],
    view: str,
    command: str,
) -> str:
    """The description of a sweep: links to comparisons of its arms, the table, the figures.

    `comparison` is the report's Markdown, `metrics` are its axes; `view` names the saved view, `command` is the user's
    command.
    """
    chart = experiment_link("", experiment_id, chart=True, view=view)
    compare = compare_link("", arms, experiment_id, metrics)
    title, _, body = comparison.partition("\n\n")
    linked = [
        f"[The arms in charts]({chart[1:]}) · [their parameters and metrics side by side]({compare[1:]}) · "
        f"[the report](#/experiments/{experiment_id}/runs/{run_id}/artifacts/comparison.html)"
    ]
    figures = re.findall(r"!\[[^\]]*\]\([^)]*\)", body)
    # Escape `[95% CI] (points)`, which would be a link. MLflow does not support `\<`.
    text = re.sub(r"(?<!\\)\[", r"\\[", re.sub(r"!\[[^\]]*\]\([^)]*\)\s*", "", body).strip()).replace("\\<", "&lt;")
    place = f"get-artifact?path={SMALL_FIGURES}/"
    shown = [re.sub(r"\(([^)]*)\)$", rf"({place}\1&run_uuid={run_id})", each) for each in figures]
    start = f"**{title.lstrip('# ')}**"
    whole = _with_command([start, *linked, text, *shown], command)
    if len(whole) <= TAG_LIMIT:
        return whole
    # The text exceeds the limit: keep the figures and as many rows as there is room for; the report has all.
    room = TAG_LIMIT - len(_with_command([start, *linked, *shown], command)) - len("\n\n")
    return _cut(_with_command([start, *linked, *_table_within(text, room), *shown], command))


def _table_within(text: str, room: int) -> list[str]:
    """The table of a text with as many of its rows as `room` letters hold; nothing if not even one."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for count in range(len(lines), 2, -1):
        more = f"\n\n… and {len(lines) - count} more rows in the report." if count < len(lines) else ""
        table = "\n".join(lines[:count]) + more
        if len(table) <= room:
            return [table]
    return []


def small_figure(figure: Path, folder: Path) -> Path:
    """A copy of a PNG in a folder, scaled to the width of a description."""
    from PIL import Image

    with Image.open(figure) as image:
        height = round(image.height * min(1.0, FIGURE_PIXELS / image.width))
        copy = image.convert("RGB").resize((min(image.width, FIGURE_PIXELS), height), Image.Resampling.LANCZOS)
    copy.save(folder / figure.name, optimize=True)
    return folder / figure.name


def _title(metrics: Mapping[str, float]) -> str:
    fractions = {
        f"eval/{metric.name}": metric for metric in METRICS if metric.is_fraction and (metric.in_summary or metric.hub)
    }
    shown = {key: metric for key, metric in fractions.items() if key in metrics} | head_accuracies(metrics)
    headlines = [f"{each.text(metrics[key])} {each.heading or each.title}" for key, each in shown.items()]
    if not headlines:
        return "No evaluation."
    first, *others = headlines
    line = ", ".join([f"**{first}**", *others])
    if "eval/videos" in metrics:
        line += f" of {metrics['eval/videos']:.0f} videos"
    if has_validation(metrics):
        return f"{line}; {describe_weights(metrics, tested_weights(metrics))}"
    epoch, headline = metrics.get("best/epoch"), next(iter(shown.values())).name
    if epoch is not None and f"best/{headline}" in metrics:
        line += f"; best {100 * metrics[f'best/{headline}']:.1f}% in epoch {epoch + 1:.0f}"
    return line


def _figures(about: RunSummary, result: Mapping[str, Any]) -> str:
    """A table of predicted and measured values."""
    predicted, memory, time = about.predicted, result["memory"], result["time"]
    is_device, is_pack = "reserved_gib" in memory, about.pack_predicted.get("plan/pack_arms", 1.0) > 1
    peak = (
        about.pack_predicted["plan/pack_peak_memory_gib"] if is_device and is_pack else predicted.get("peak_memory_gib")
    )
    name = "peak memory of the pack" if is_device and is_pack else "peak memory"
    rows = [
        ("held for backward", _gib(predicted.get("held_for_backward_gib")), _gib(memory.get("held_for_backward_gib"))),
        (name, _gib(peak), _gib(memory.get("peak_gib"))),
        ("trained parameters", _count(predicted.get("trainable_parameters")), _count(result["trainable_parameters"])),
        ("multiply-adds of a view", _in_giga(predicted.get("multiply_adds")), ""),
        ("training time", "", format_duration(time["total_s"]) if "total_s" in time else ""),
        ("training", "", f"{time['clips_per_s']:.1f} clips/s" if "clips_per_s" in time else ""),
    ]
    lines = ["| | predicted | measured |", "|---|---:|---:|"]
    table = "\n".join([*lines, *(f"| {name} | {left} | {right} |" for name, left, right in rows if left or right)])
    return table if is_device or "peak_gib" not in memory else f"{table}\n\n{ON_A_CPU}"


def _gib(value: float | None) -> str:
    return "" if value is None else format_bytes(GIB * value)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _in_giga(value: float | None) -> str:
    return "" if value is None else f"{value / 1e9:,.3g} G"


def _plain(text: str) -> str:
    """One line with Markdown and HTML characters escaped."""
    return re.sub(r"([\\`*_\[\]<>#|&])", r"\\\1", printable(" ".join(text.split())))


def _code(lines: Sequence[str]) -> str:
    longest = max(map(len, re.findall("`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *(printable(line, keep="\n") for line in lines), fence])


def _with_command(parts: Sequence[str], command: str) -> str:
    return "\n\n".join([*parts, *([_code(["# created by", command])] if command else [])])


def _cut(text: str) -> str:
    return text if len(text) <= TAG_LIMIT else text[: TAG_LIMIT - 1] + "…"
