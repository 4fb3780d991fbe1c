"""What is known here of each row of the paper's Tables 2 to 9: from the tables, the files and the stored measurements.

A row is *measured* where `benchmarks/results` holds a measurement of it on a GPU; *planned* where it holds a plan, or
the file's header or the list of presets does; *quoted* where no file here is the row's. It *needs* a data set where its
accuracy can only come from training on it. Nothing is typed in here.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from side4video.core.paths import variables
from side4video.reports.paper import PAPER_TABLES, PaperRow, PaperTable
from side4video.reports.table_9 import TABLE_9, PaperPart, PaperSetting
from side4video.spec.presets import descriptions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
EXPERIMENTS = ROOT / "experiments"

_IN_HEADER = re.compile(r"planned: ([\d.]+) GiB a GPU of (\d+)")
_SETS = {
    "SSV1": "Something-Something V1",
    "SSV2": "Something-Something V2",
    "K400": "Kinetics-400",
    "MSRVTT": "MSR-VTT",
    "MSVD": "MSVD",
    "VATEX": "VATEX",
}
"""What the variables of the files stand for."""


@dataclass(frozen=True)
class Known:
    """What is known of a file."""

    name: str
    path: Path
    needs: tuple[str, ...]
    """Variables that name the folders of its data."""
    verb: str
    """`run` or `sweep`."""
    planned: str = ""
    """Planned peak with what it is of."""
    measured: str = ""
    """Measured peak with what it was measured on."""

    @property
    def shown_path(self) -> str:
        """From the repository's root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def command(self) -> str:
        """What trains it."""
        folders = "".join(f"{name}=/folder/of/{name.lower()} " for name in self.needs)
        return f"{folders}side4video {self.verb} {self.shown_path}"

    @property
    def data(self) -> str:
        """What it is trained on."""
        return ", ".join(_SETS[name] for name in self.needs)


def reproduction_page() -> str:
    """All tables."""
    lines: list[str] = []
    for table in PAPER_TABLES.values():
        lines += _table(table)
    lines += _table_9()
    return "\n".join(lines)


def known(name: str) -> Known:
    """What is known of an experiment by its name.

    Raises:
        KeyError: No file of `experiments/` has that name.
    """
    return files()[name]


@cache
def files() -> dict[str, Known]:
    """Every file of `experiments/` by the name that it gives its runs."""
    found = {}
    for path in sorted(EXPERIMENTS.rglob("*.yaml")):
        if path.parent.name == "clusters":
            continue
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        is_sweep = "base" in document
        base = (path.parent / document["base"]).read_text(encoding="utf-8") if is_sweep else text
        needs = tuple(name for name in variables(_without_comments(base)) if name in _SETS)
        measured, planned = _memory(path)
        planned = planned or _plan_of_preset(path, text)
        found[document["name"]] = Known(
            document["name"], path, needs, "sweep" if is_sweep else "run", planned, measured
        )
    return found


def _plan_of_preset(path: Path, text: str) -> str:
    """What the file's header says of its plan, or else the list of presets, which has a sweep's of its largest pack."""
    if header := _IN_HEADER.search(text):
        return f"{header[1]} GiB, each of {header[2]} GPUs"
    preset = descriptions().get(path.relative_to(EXPERIMENTS).with_suffix("").as_posix())
    if not preset or preset.command == "sweep":
        return ""
    workers = (yaml.safe_load(text).get("cluster") or {}).get("workers", 1)
    return f"{preset.peak_memory_gib:.1f} GiB, " + (f"each of {workers} GPUs" if workers > 1 else "one GPU")


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


@cache
def stored() -> tuple[tuple[dict[str, Any], str], ...]:
    """Rows of all stored measurements of memory, each with the device."""
    rows = []
    for file in sorted(RESULTS.glob("memory-*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        device = str(record.get("environment", {}).get("gpu", "")) or file.stem.removeprefix("memory-")
        rows += [(row, device) for row in record["rows"]]
    return tuple(rows)


def _memory(path: Path) -> tuple[str, str]:
    """Measured and planned peak of a file as it is, each in words; empty where nothing is stored."""
    relative = path.relative_to(EXPERIMENTS).as_posix()
    arms = [arm for arm in _arms() if arm.file == relative and not arm.changes]
    return _figures(arms[0]) if arms else ("", "")


def _figures(arm: Any) -> tuple[str, str]:
    measured = planned = ""
    for row, device in stored():
        if (row["table"], row["name"]) != (arm.table, arm.name):
            continue
        if "planned_peak_gib" in row and not planned:
            planned = f"{row['planned_peak_gib']:.1f} GiB, {row['clips']} clips"
        if "peak_gib" in row:
            measured = f"{row['peak_gib']:.1f} GiB, {row['clips']} clips, {device}"
        elif "out_of_memory" in row:
            measured = f"out of memory, {row['clips']} clips, {device}"
    return measured, planned


@cache
def _arms() -> tuple[Any, ...]:
    """What the benchmark of memory measures; its module lies beside the results."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from arms import ARMS
    finally:
        sys.path.pop(0)
    return ARMS


def names_of(row: PaperRow) -> tuple[str, ...]:
    """Experiments that reproduce a row."""
    return tuple(dict.fromkeys(row.experiments.values()))


def _table(table: PaperTable) -> list[str]:
    lines = [f"## {table.title}", "", *_notes(table.conventions)]
    lines += _rows(
        (_label(table, row), _paper(table, row), [known(name) for name in names_of(row)]) for row in table.rows
    )
    return [*lines, "", f"To print your runs beside these figures: `side4video report {table.name}`.", ""]


def _notes(conventions: Sequence[str]) -> list[str]:
    return [*(f"- {each}" for each in conventions), ""] if conventions else []


def _label(table: PaperTable, row: PaperRow) -> str:
    named = [other.details[:1] + other.details[2:] for other in table.rows if other.method == row.method]
    is_told_apart = named.count(row.details[:1] + row.details[2:]) == 1
    details = row.details[:1] + row.details[2:] if is_told_apart else row.details
    parts = [row.method, *([row.group] if table.name == "table2" else []), *details]
    return ", ".join(part for part in parts if part)


def _paper(table: PaperTable, row: PaperRow) -> str:
    """The row's figures, a line each; those of one direction or one data set on one line."""
    lines: dict[str, list[str]] = {}
    for column in table.columns:
        value = row.figures.get(column.key)
        if value is None:
            continue
        group, _, name = column.heading.rpartition(" ")
        figure = f"{value:.{column.decimals}f}"
        if "FLOPs" in column.heading:
            lines[column.key] = [f"{figure} {column.heading}"]
        else:
            lines.setdefault(group or column.key, [] if not group else [f"{group}:"]).append(
                f"{name} {figure} {column.unit}".strip()
            )
    return "<br>".join(", ".join(parts).replace(":,", ":") for parts in lines.values())


def _rows(rows: Iterable[tuple[str, str, Sequence[Known]]]) -> list[str]:
    lines = ["| row | paper | status here | file and command |", "|---|---|---|---|"]
    for label, paper, experiments in rows:
        status = "<br>".join(dict.fromkeys(line for each in experiments for line in _status(each))) or "**quoted**"
        commands = "<br>".join(f"`{each.command}`" for each in experiments) or "–"
        lines.append(f"| {label} | {paper} | {status} | {commands} |")
    return lines


def _status(each: Known, measured: str = "", planned: str = "") -> list[str]:
    """What is known, a line each; accuracy last."""
    told = []
    if measured := measured or each.measured:
        told.append(f"**measured** memory: {measured}")
    if planned := planned or each.planned:
        told.append(f"**planned** memory: {planned}")
    told.append(f"accuracy **needs {each.data}**")
    return told


def _table_9() -> list[str]:
    lines = ["## Table 9: ablations on Something-Something V1", ""]
    together = known("table9-b-f")
    lines += [
        f"One sweep trains 9b to 9f together, on one backbone pass: `{together.command}`.",
        "",
        "[Results](results.md#settings-of-table-9-on-generated-clips) has these settings, measured on generated clips.",
        "",
    ]
    for part in TABLE_9:
        sweep = known(f"table{part.name[0]}-{part.name[1:]}")
        lines += [f"### {part.name}: {part.title}", ""]
        lines += ["| row | paper | status here |", "|---|---|---|"]
        for setting in part.settings:
            measured, planned = _of_setting(part, setting)
            lines.append(
                f"| {setting.label} | {_paper_9(setting)} | {'<br>'.join(_status(sweep, measured, planned))} |"
            )
        lines += ["", f"`{sweep.command}`", ""]
    return [*lines, "To print your runs beside these figures: `side4video report table9`.", ""]


def _paper_9(setting: PaperSetting) -> str:
    memory = setting.figures.get("memory_gb")
    return f"top-1 {100 * setting.figures['top1']:.1f} %" + (f"<br>memory {memory:g} G" if memory else "")


def _of_setting(part: PaperPart, setting: PaperSetting) -> tuple[str, str]:
    """Stored memory of a row of Table 9: of the row itself, or of the common arm where it is that."""
    key = part.field.rpartition(".")[2]
    tables = ("E/14",) if part.name == "9a" else (part.name, "2, ViT-B/16")
    for arm in _arms():
        is_ours = arm.table in tables and (arm.table != "2, ViT-B/16" or arm.name == "Side4Video 12 x 320")
        if is_ours and getattr(arm.spec().method, key) == setting.value and arm.spec().backbone.precision != "8-bit":
            return _figures(arm)
    return "", ""
