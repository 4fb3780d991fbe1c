"""Writes what `side4video presets` says of each file of `experiments/`, and the table of the documentation's page.

    .venv/bin/python docs/generators/presets.py          plan what is new or changed; `make reference` calls this
    .venv/bin/python docs/generators/presets.py --all    plan all anew (minutes)

Planning all files takes minutes, so `platform/side4video/spec/presets.json` keeps the figures, each with a hash of the
document that it was planned for. After a change of the planner or of a network, plan all anew.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "platform")]

from side4video.core.errors import InputError  # noqa: E402 - found by the line above
from side4video.core.files import write_atomically  # noqa: E402
from side4video.core.paths import variables  # noqa: E402
from side4video.core.units import GIB, format_bytes, format_count  # noqa: E402
from side4video.reports.paper import TABLES  # noqa: E402
from side4video.runs.sweep import sweep_key  # noqa: E402
from side4video.spec import presets  # noqa: E402
from side4video.spec.arm import Sweep, load_sweep  # noqa: E402
from side4video.spec.experiment import Experiment  # noqa: E402
from side4video.spec.load import is_sweep, load_experiment  # noqa: E402
from side4video.spec.presets import PresetDescription, preset_file, preset_names  # noqa: E402

FILE = Path(presets.__file__).with_name(presets.DESCRIPTIONS)
CLASSES = {"SSV2": 174, "REAL_CLIPS": 2}
"""Of data sets whose files say their classes, by the variable of their folder."""
_PART = r"(?:Table|Figure) \d+(?: ?[a-f])?(?: (?:to|and) [a-f])?"
_IN_TITLE = re.compile(rf"paper's ({_PART})|({_PART}) of the paper")
_BESIDE_FIGURES = re.compile(rf"^# Paper: [^\n]*?\(({_PART})\)", re.MULTILINE)

Document = Experiment | Sweep


def load(name: str) -> Document:
    """The document of a preset."""
    file = preset_file(name)
    return load_sweep(file) if is_sweep(file) else load_experiment(file)


def describe(name: str, document: Document, figures: tuple[int, float]) -> PresetDescription:
    """A preset's description; `figures` are its trained parameters and its planned peak in GiB."""
    text = preset_file(name).read_text(encoding="utf-8")
    base = document.base_experiment if isinstance(document, Sweep) else document
    return PresetDescription(
        command="sweep" if isinstance(document, Sweep) else "run",
        title=title(text),
        paper=place_in_paper(document, text),
        needs=tuple(variables(json.dumps(base.resolved()))),
        arms=count_arms(document),
        trainable_parameters=figures[0],
        peak_memory_gib=figures[1],
        key=key(document),
    )


def title(text: str) -> str:
    """The first sentence of a file's comment."""
    comment = re.match(r"(?:#[^\n]*\n)+", text)
    lines = [line.lstrip("# ") for line in comment[0].splitlines()] if comment else []
    told = " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    sentence = re.match(r".*?\.(?=\s|$)", told)
    return sentence[0].removesuffix(".") if sentence else told


def place_in_paper(document: Document, text: str) -> str:
    """Table and row: from the tables that name an experiment, a sweep's field `reproduces`, or the file's comment."""
    if isinstance(document, Sweep):
        return document.spec.reproduces.partition(",")[0]
    places: dict[str, list[str]] = {}
    for table in TABLES.values():
        for row in table.rows:
            if document.name in row.experiments.values():
                parts = [row.method, row.group if table.name == "table2" else "", *row.details[:1], *row.details[2:]]
                label = re.sub(r"^Side4Video,? |\bViT-|(?<=\d) (?=x)|(?<=x) (?=\d)", "", ", ".join(filter(None, parts)))
                places.setdefault(label, []).append(table.title.partition(":")[0].removeprefix("Table "))
    if places:
        rows = [f"Table{'s' * (len(found) > 1)} {' and '.join(found)}: {row}" for row, found in places.items()]
        return "; ".join(rows)
    found = _IN_TITLE.search(title(text)) or _BESIDE_FIGURES.search(text)
    return next(filter(None, found.groups())) if found else ""


def count_arms(document: Document) -> int:
    """Distinct arms of a sweep, or those that Optuna proposes; 1 for an experiment."""
    if not isinstance(document, Sweep):
        return 1
    search = document.spec.optuna
    return search.arms * document.spec.seeds if search else len(document.arms)


def count_classes(experiment: Experiment) -> int:
    """Classes of the data set, which may not be on this machine."""
    dataset = experiment.data.dataset
    try:
        return len(dataset.classes())
    except InputError:
        needed = variables(json.dumps(experiment.resolved()))
        return dataset.usual_classes() or next(CLASSES[name] for name in needed if name in CLASSES)


def key(document: Document) -> str:
    """Hash of all that the figures depend on, but for the code; a new field with a default does not change it."""
    if isinstance(document, Sweep):
        base, spec = document.base_experiment, document.spec
        parts = [sweep_key(document), str(spec.packing), spec.limits.model_dump(mode="json")]
    else:
        base, parts = document, [document.digest()]
    text = json.dumps([*parts, count_classes(base)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def plan(document: Document) -> tuple[int, float]:
    """Trained parameters and planned peak of one worker in GiB; of the largest arm and the largest pack."""
    from side4video.planning.plan import plan_experiment
    from side4video.planning.sweep import plan_sweep

    if isinstance(document, Sweep):
        found = plan_sweep(document, classes=count_classes(document.base_experiment))
        trained = max(found.planner(arm.experiment).trainable_parameters for arm in found.arms)
        return trained, round(max(pack.peak_gib for pack in found.packs), 4)
    found = plan_experiment(document, classes=count_classes(document))
    return found.trainable_parameters, round(found.peak_memory_gib, 4)


def described(known: Mapping[str, PresetDescription], *, plans_all: bool = False) -> dict[str, PresetDescription]:
    """All presets; those whose document is as it was keep their figures."""
    made = {}
    for name in preset_names():
        document, before = load(name), known.get(name)
        if before is not None and before.key == key(document) and not plans_all:
            figures = (before.trainable_parameters, before.peak_memory_gib)
        else:
            sys.stdout.write(f"planning {name}\n")
            sys.stdout.flush()
            figures = plan(document)
        made[name] = describe(name, document, figures)
    return made


def as_text(rows: Mapping[str, PresetDescription]) -> str:
    """The file's content."""
    document: dict[str, Any] = {name: asdict(row) for name, row in rows.items()}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def presets_page() -> str:
    """The tables of the documentation's page."""
    rows = presets.descriptions()
    runs = [(name, row) for name, row in rows.items() if row.command == "run"]
    sweeps = [(name, row) for name, row in rows.items() if row.command == "sweep"]
    lines = ["### Experiments", "", "| name | what it is | trained | planned peak |", "|---|---|---|---|"]
    lines += [_line(name, row.title, format_count(row.trainable_parameters), _gib(row)) for name, row in runs]
    lines += ["", "### Sweeps", "", "| name | what it is | arms | planned peak |", "|---|---|---|---|"]
    lines += [_line(name, row.title, str(row.arms), _gib(row)) for name, row in sweeps]
    return "\n".join(lines)


def _line(name: str, *cells: str) -> str:
    return " | ".join(["| `" + name + "`", *cells]) + " |"


def _gib(row: PresetDescription) -> str:
    return format_bytes(row.peak_memory_gib * GIB)


def main(arguments: Sequence[str]) -> int:
    """Write the file, if it is not current."""
    presets.descriptions.cache_clear()
    text = as_text(described(presets.descriptions(), plans_all="--all" in arguments))
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        write_atomically(FILE, text)
        sys.stdout.write(f"written: {FILE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
