"""What stands above a run in MLflow's pages: its description, as Markdown.

MLflow shows it on the run's page and keeps it in a tag, so that who writes last wins and nothing doubles. Links in it
begin with `#`, and figures with `get-artifact`: they lead to whatever server shows the page.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side4video.core.units import GIB, format_bytes, format_duration
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import METRICS
from side4video.tracking.mlflow.links import compare_link, experiment_link
from side4video.tracking.mlflow.parameters import TAG_LIMIT
from side4video.tracking.redaction import redact_command

SMALL_FIGURES = "note"
"""The folder among a sweep's artifacts with its figures as wide as a description: MLflow does not scale them."""

FIGURE_PIXELS = 760
"""So wide."""

ON_A_CPU = "Peak memory: predicted for a GPU, with cuBLAS's workspace; measured as the tensors of a step, on a CPU."

PROGRAMS = ("side4video", "__main__.py")


@dataclass(frozen=True)
class RunSummary:
    """What is known of a run before it begins."""

    what: str
    """Method, backbone, data, protocol."""
    predicted: Mapping[str, float]
    """The plan's figures, by their names there."""
    pack_predicted: Mapping[str, float]
    """Those of the pack that it trains in (`plan/pack_*`)."""
    command: str
    """What a person called; empty if it was no command of ours."""

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
        """From the document and its plan."""
        backbone = getattr(spec.backbone, "model", spec.backbone.kind)
        what = f"`{spec.method.kind}` on a frozen `{backbone}`, `{spec.data.dataset.kind}` data, {protocol}"
        predicted = {name: value for name, value in plan.items() if isinstance(value, int | float)}
        return cls(what, predicted, pack_predicted, command)


def current_command(words: Sequence[str] | None = None) -> str:
    """The command line that this process was begun with, secrets hidden; empty if it is another program's."""
    called = list(sys.argv if words is None else words)
    if not called or Path(called[0]).name not in PROGRAMS:
        return ""
    return redact_command(shlex.join(["side4video", *called[1:]]))


def run_description(about: RunSummary, run_id: str, result: Mapping[str, Any]) -> str:
    """The description of a run that ended.

    Args:
        about: What was known before.
        run_id: Its id.
        result: How it ended: `engine.outcome.Outcome` as a mapping.
    """
    state = result["state"]
    parts = [_headline(result["metrics"]) if state == "finished" else f"**{state}** · {_headline(result['metrics'])}"]
    parts += [about.what, _figures(about, result)]
    if about.pack_predicted.get("plan/pack_arms", 1.0) > 1:
        parts.append(
            f"Trained with {about.pack_predicted['plan/pack_arms'] - 1:.0f} other arms on one pass of the backbone."
        )
    parts += [f"- {note}" for note in result.get("notes", ())]
    short = run_id[:8]
    asked = [f"side4video evaluate {short}"]
    if f"eval/{METRICS[0].name}" in result["metrics"]:
        asked += [f"side4video predict {short} VIDEO...", f"side4video register {short}"]
    if state == "finished":
        parts.append(_code(["# ask it", *asked]))
    return _with_command(parts, about.command)


def failure_description(about: RunSummary, reason: str, *, killed: bool) -> str:
    """The description of a run that ended without a result."""
    headlines = "Interrupted" if killed else "Failed"
    return _with_command([f"**{headlines}**: {_plain(reason)[:1000]}", about.what], about.command)


def reused_description(note: str, source: str, experiment_id: str) -> str:
    """The description of an arm that took over another run's result."""
    link = f"#/experiments/{experiment_id}/runs/{source}"
    return _cut(f"Taken over from [run {source[:8]}]({link}): the same experiment had a result.\n\n{note}".rstrip())


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
    """The description of a sweep: where its arms are side by side, the table, the figures.

    Args:
        comparison: The report's Markdown.
        run_id: The sweep's run.
        experiment_id: Its experiment.
        arms: The arms' runs.
        metrics: Axes of the comparison.
        view: The name of the saved view (`tracking.views`).
        command: What a person called.
    """
    chart = experiment_link("", experiment_id, chart=True, view=view)
    compare = compare_link("", arms, experiment_id, metrics)
    title, _, body = comparison.partition("\n\n")
    linked = [
        f"[The arms in charts]({chart[1:]}) · [their parameters and metrics side by side]({compare[1:]}) · "
        f"[the report](#/experiments/{experiment_id}/runs/{run_id}/artifacts/comparison.html)"
    ]
    figures = re.findall(r"!\[[^\]]*\]\([^)]*\)", body)
    # `[95% CI] (points)` would be a link, and MLflow does not know `\<`.
    text = re.sub(r"(?<!\\)\[", r"\\[", re.sub(r"!\[[^\]]*\]\([^)]*\)\s*", "", body).strip()).replace("\\<", "&lt;")
    place = f"get-artifact?path={SMALL_FIGURES}/"
    shown = [re.sub(r"\(([^)]*)\)$", rf"({place}\1&run_uuid={run_id})", each) for each in figures]
    whole = _with_command([f"**{title.lstrip('# ')}**", *linked, text, *shown], command)
    if len(whole) <= TAG_LIMIT:
        return whole
    # Too many arms for a description: the figures stay, and the table is a click away.
    return _cut(_with_command([f"**{title.lstrip('# ')}**", *linked, *shown], command))


def small_figure(figure: Path, folder: Path) -> Path:
    """A copy of a PNG below a folder, no wider than a description."""
    from PIL import Image

    with Image.open(figure) as image:
        height = round(image.height * min(1.0, FIGURE_PIXELS / image.width))
        copy = image.convert("RGB").resize((min(image.width, FIGURE_PIXELS), height), Image.Resampling.LANCZOS)
    copy.save(folder / figure.name, optimize=True)
    return folder / figure.name


def _headline(metrics: Mapping[str, float]) -> str:
    fractions = {f"eval/{metric.name}": metric for metric in METRICS if metric.is_fraction}
    shown = {key: metric for key, metric in fractions.items() if key in metrics}
    headlines = [f"{each.text(metrics[key])} {each.heading or each.title}" for key, each in shown.items()]
    if not headlines:
        return "No evaluation."
    first, *others = headlines
    line = ", ".join([f"**{first}**", *others])
    if "eval/videos" in metrics:
        line += f" of {metrics['eval/videos']:.0f} videos"
    epoch, headline = metrics.get("best/epoch"), next(iter(shown.values())).name
    if epoch is not None and f"best/{headline}" in metrics:
        line += f"; best {100 * metrics[f'best/{headline}']:.1f}% in epoch {epoch + 1:.0f}"
    return line


def _figures(about: RunSummary, result: Mapping[str, Any]) -> str:
    """Predicted beside measured."""
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
        ("multiply-adds of a view", _giga(predicted.get("multiply_adds")), ""),
        ("time", "", format_duration(time["total_s"]) if "total_s" in time else ""),
        ("training", "", f"{time['clips_per_s']:.1f} clips/s" if "clips_per_s" in time else ""),
    ]
    lines = ["| | predicted | measured |", "|---|---:|---:|"]
    table = "\n".join([*lines, *(f"| {name} | {left} | {right} |" for name, left, right in rows if left or right)])
    return table if is_device or "peak_gib" not in memory else f"{table}\n\n{ON_A_CPU}"


def _gib(value: float | None) -> str:
    return "" if value is None else format_bytes(GIB * value)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _giga(value: float | None) -> str:
    return "" if value is None else f"{value / 1e9:,.3g} G"


def _plain(text: str) -> str:
    """One line, without what Markdown or HTML would make something of."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def _with_command(parts: Sequence[str], command: str) -> str:
    return "\n\n".join([*parts, *([_code(["# made by", command])] if command else [])])


def _cut(text: str) -> str:
    return text if len(text) <= TAG_LIMIT else text[: TAG_LIMIT - 1] + "…"
