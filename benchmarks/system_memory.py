"""The planned training memory of every system in the paper's Tables 2 to 8, beside its accuracy in the paper.

    python benchmarks/system_memory.py           plan what is new or changed, write the record and draw the picture
    python benchmarks/system_memory.py --all     plan all anew (about 20 minutes), after a change of planner or network
    python benchmarks/system_memory.py --draw    draw the picture from the record

One setting for all: one GPU, and a step of 16 clips, or of 16 pairs of a clip and a text, with the frames, the size of
the picture, the precision and the optimizer of the system's own file. Table 2 on ViT-B/16 has the 32 clips of its
caption. 16 is the batch of Table 2 on ViT-L/14, and a GPU's share of the 128 pairs that retrieval trains with, so the
memory that the paper gives for those stands beside a plan of the same step. Needs neither weights nor videos. Writes
benchmarks/results/system-memory.json and docs/pictures/system-memory.png.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from side4video.reports.paper import PAPER_TABLES, PaperRow, PaperTable
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
PICTURE = ROOT / "docs" / "pictures" / "system-memory.png"
NAME = "system-memory"
RECORD = ROOT / "benchmarks" / "results" / f"{NAME}.json"
COMMAND = "python benchmarks/system_memory.py"
CLIPS = 16
CLIPS_OF_TABLE_2 = {"ViT-B/16": 32, "ViT-L/14": 16}
"""Its caption."""
SETTINGS = ("cluster={}", "data.repeated_sampling=1", "optimization.accumulation=1")
CLASSES = {"table2": 174, "table4": 174, "table5": 400}
ACCURACY = {"table2": "top1", "table4": "ssv2top1", "table5": "top1"}
"""The column that is drawn; retrieval: R@1 of text to video."""


@dataclass(frozen=True)
class Source:
    """The file that a row is planned from, and what is changed in it."""

    file: Path
    changes: tuple[str, ...] = ()


# Files of Table 2 with what Tables 4 and 5 say: 32 frames; EVL has four layers on Kinetics-400, AIM one adapter over
# time. DiST's tower reads every second frame. The multiply-adds of these plans are those of the paper's rows.
OTHER_SETTINGS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("table4", "EVL"): ("evl", ("data.frames=32",)),
    ("table4", "ST-Adapter"): ("st-adapter", ("data.frames=32",)),
    ("table4", "AIM"): ("aim", ("data.frames=32",)),
    ("table4", "DiST"): ("dist", ("data.frames=64",)),
    ("table5", "EVL"): ("evl", ("data.frames=32", "method.layers=4")),
    ("table5", "ST-Adapter"): ("st-adapter", ("data.frames=32",)),
    ("table5", "AIM"): ("aim", ("data.frames=32", "method.temporal_adapters=1")),
    ("table5", "DiST †"): ("dist", ("data.frames=64",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="Draw the picture from the record, and plan nothing.")
    parser.add_argument("--all", action="store_true", help="Plan all anew.")
    arguments = parser.parse_args()
    if not arguments.draw:
        import bench

        known = {} if arguments.all else plans_of(RECORD)
        print("written:", bench.save(NAME, {"command": COMMAND, "clips": CLIPS, **plan_all(known)}))
    from system_memory_picture import write_picture

    print("written:", write_picture(RECORD, PICTURE))


def plans_of(record: Path) -> dict[str, dict[str, Any]]:
    """The plans of a record by their keys; none if there is no record."""
    rows = json.loads(record.read_text(encoding="utf-8"))["rows"] if record.is_file() else []
    return {row["key"]: {name: row[name] for name in _PLANNED} for row in rows}


def plan_all(known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The planned rows, and those that nothing here can plan; what is `known`, by key, is not planned again."""
    files, planned, rows, missing = files_by_name(), dict(known), [], []
    for table in PAPER_TABLES.values():
        for row in table.rows:
            source = source_of(table, row, files)
            said = {"table": table.name, "group": row.group, "method": row.method, "details": list(row.details)}
            if source is None:
                missing.append(said)
                continue
            rows.append(said | papers_figures(table, row) | plan_row(table, row, source, planned))
            print(rows[-1], flush=True)
    return {"rows": rows, "not_planned": missing}


def files_by_name() -> dict[str, Path]:
    """The files of experiments/ by the names of their experiments."""
    found = {}
    for file in sorted(EXPERIMENTS.rglob("*.yaml")):
        found[yaml.safe_load(file.read_text(encoding="utf-8")).get("name", "")] = file
    return found


def source_of(table: PaperTable, row: PaperRow, files: Mapping[str, Path]) -> Source | None:
    """The file of a row; nothing if no system here is the row's. Of two data sets, the last: Table 4's V2."""
    if row.experiments:
        return Source(files[list(row.experiments.values())[-1]])
    if (table.name, row.method) in OTHER_SETTINGS:
        name, changes = OTHER_SETTINGS[table.name, row.method]
        return Source(EXPERIMENTS / "comparisons" / f"{name}-vitl14.yaml", changes)
    return None


def papers_figures(table: PaperTable, row: PaperRow) -> dict[str, Any]:
    """What the paper says of a row: accuracy in percent, memory in GB, TFLOPs of a view; without what it leaves out."""
    named = {"accuracy": ACCURACY.get(table.name, "t2v_r1"), "memory_gb": "memory", "tflops": "tflops"}
    return {f"paper_{name}": row.figures[key] for name, key in named.items() if key in row.figures}


def plan_row(table: PaperTable, row: PaperRow, source: Source, planned: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Plan a row; `planned` keeps plans by what they depend on, and is added to."""
    from side4video.planning.plan import plan_experiment

    clips = CLIPS_OF_TABLE_2[row.group] if table.name == "table2" else CLIPS
    spec = load_experiment(source.file, (*SETTINGS, f"optimization.batch_size={clips}", *source.changes))
    classes = CLASSES.get(table.name, 2)
    key = key_of(spec, classes)
    if key not in planned:
        figures = plan_experiment(spec, classes=classes)
        values = (
            figures.trainable_parameters,
            figures.tower_parameters,
            figures.multiply_adds,
            round(figures.held_for_backward_gib, 4),
            round(figures.peak_memory_gib, 4),
        )
        planned[key] = {"key": key, **dict(zip(_PLANNED[1:], values, strict=True))}
    file = source.file.relative_to(EXPERIMENTS).as_posix()
    return {"file": file, "changes": list(source.changes), "clips": clips, "frames": spec.data.frames, **planned[key]}


def key_of(spec: Experiment, classes: int) -> str:
    """Hash of what a plan depends on, but for the code: no names, place of videos, length of training or test.

    A new field with its default does not change it.
    """
    values = spec.identifying_values()
    document = {part: {**values[part]} for part in _PARTS}
    for part, field in _NO_MATTER:
        del document[part][field]
    text = re.sub(r"\$\{\w+\}", "", json.dumps([document, classes], sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_PLANNED = (
    "key",
    "trained_parameters",
    "tower_parameters",
    "multiply_adds",
    "held_for_backward_gib",
    "planned_peak_gib",
)
_PARTS = ("task", "backbone", "method", "data", "optimization")
_NO_MATTER = (("data", "dataset"), ("data", "views"), ("optimization", "length"), ("optimization", "warmup"))


if __name__ == "__main__":
    main()
