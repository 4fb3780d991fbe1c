"""The table of planned memory of every system in the paper's Tables 2 to 8, from benchmarks/results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "system-memory.json"
_RECOGNITION = {"table2": "2", "table4": "4", "table5": "5"}
_RETRIEVAL = {"table6": "MSR-VTT", "table7": "MSVD", "table8": "VATEX"}

Row = Mapping[str, Any]


def systems() -> str:
    """A table of action recognition, one of retrieval, and what was not planned."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    missing: dict[str, list[str]] = {}
    for row in record["not_planned"]:
        name = " ".join([row["method"], *(f"({pretraining})" for pretraining in row["details"][1:2])])
        missing.setdefault(name, []).append(row["table"].removeprefix("table"))
    named = "; ".join(f"{name}, Table{'s' * (len(tables) > 1)} {_joined(tables)}" for name, tables in missing.items())
    sentences = [f"Not planned, for no system here is the row's: {named}." if named else "", f"`{record['command']}`"]
    return "\n\n".join([_recognition(record["rows"]), _retrieval(record["rows"]), " ".join(filter(None, sentences))])


def _recognition(rows: Sequence[Row]) -> str:
    lines = ["| table | system | clips x frames | peak, planned | the paper, measured | the paper, top-1 |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        if row["table"] in _RECOGNITION:
            backbone = row["details"][0] if row["details"] else row["group"]
            cells = [_RECOGNITION[row["table"]], _bold(f"{row['method']}, {backbone}")]
            cells += [f"{row['clips']} x {row['frames']}", *_memory(row), f"{row['paper_accuracy']:.1f}%"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _retrieval(rows: Sequence[Row]) -> str:
    """A line for each method; data sets differ in R@1 alone, and the paper's memory is Table 3's of the same files."""
    measured = {row["file"]: row["paper_memory_gb"] for row in rows if row["table"] == "table3"}
    lines = [f"| system | pairs x frames | peak, planned | the paper, measured | {' | '.join(_RETRIEVAL.values())} |"]
    lines.append("|---" * (4 + len(_RETRIEVAL)) + "|")
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row["table"] in _RETRIEVAL:
            method = row["method"].removesuffix(" (LAION-2B)")
            found.setdefault((method, row["clips"], row["frames"], row["planned_peak_gib"]), {})[row["table"]] = row
    for (method, clips, frames, _), by_table in found.items():
        first = next(iter(by_table.values()))
        paper = [measured[row["file"]] for row in by_table.values() if row["file"] in measured]
        memory = _memory({**first, **({"paper_memory_gb": paper[0]} if paper else {})})
        accuracy = [f"{by_table[name]['paper_accuracy']:.1f}%" if name in by_table else "–" for name in _RETRIEVAL]
        lines.append(f"| {' | '.join([_bold(method), f'{clips} x {frames}', *memory, *accuracy])} |")
    return "\n".join(lines)


def _memory(row: Row) -> list[str]:
    paper = f"{row['paper_memory_gb']:g} GB" if "paper_memory_gb" in row else "–"
    return [f"{row['planned_peak_gib']:.1f} GiB", paper]


def _bold(name: str) -> str:
    return f"**{name}**" if name.startswith("Side4Video") else name


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


TABLES = {"system-memory": systems}
"""By name, for `figures`."""
