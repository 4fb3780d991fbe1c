"""What `side4video presets` lists is what the files say, and what the planner says of them."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs"))

from generators import presets  # noqa: E402 - docs/ holds no package of ours

from side4video.spec.presets import descriptions, preset_names  # noqa: E402

QUICK = ("quickstart", "comparisons/linear-vitb16")
SPREAD = (
    "quickstart-retrieval-sweep",
    "ablations/table9-b",
    "comparisons/st-adapter-vitb16",
    "k400/vitb16-8f",
    "msrvtt/vitb32",
    "msvd/clip4clip-vitb32",
    "real-clips/fight",
    "ssv1/vitl14-8f",
    "ssv2/vitb16-light",
    "vatex/vitb16",
)
FIX = "call `make reference`; after a change of the planner or of a network, docs/generators/presets.py --all"


def outdated(known):
    """Presets of which another text, another place or another document is stored."""
    found = []
    for name in preset_names():
        row = known.get(name)
        figures = (row.trainable_parameters, row.peak_memory_gib) if row else (0, 0.0)
        if presets.describe(name, presets.load(name), figures) != row:
            found.append(name)
    return [*found, *(known.keys() - set(preset_names()))]


def test_the_descriptions_are_those_of_the_files():
    assert outdated(descriptions()) == [], FIX
    assert presets.FILE.read_text(encoding="utf-8") == presets.as_text(descriptions()), FIX


@pytest.mark.parametrize("changes", [{"key": "of another document"}, {"title": "x"}, {"arms": 2}, {"paper": "Table 1"}])
def test_a_description_of_another_file_is_noticed(changes):
    known = descriptions()
    assert outdated({**known, "quickstart": replace(known["quickstart"], **changes)}) == ["quickstart"]


def test_a_file_that_came_or_went_is_noticed():
    known = descriptions()
    without = {name: row for name, row in known.items() if name != "quickstart"}
    assert outdated({**without, "gone": known["quickstart"]}) == ["quickstart", "gone"]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in SPREAD)])
def test_the_figures_are_those_of_the_planner(name):
    row = descriptions()[name]
    trained, peak = presets.plan(presets.load(name))
    assert (trained, peak) == (row.trainable_parameters, pytest.approx(row.peak_memory_gib, abs=2e-4)), FIX


def test_only_what_changed_is_planned_again(monkeypatch):
    known = descriptions()
    planned = []
    monkeypatch.setattr(presets, "plan", lambda document: planned.append(document.name) or (1, 2.0))
    assert presets.described(known) == known
    assert planned == []
    made = presets.described({**known, "quickstart": replace(known["quickstart"], key="old")})
    assert planned == ["quickstart"]
    assert (made["quickstart"].trainable_parameters, made["quickstart"].peak_memory_gib) == (1, 2.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# yaml-language-server: $schema=x\n# One thing: two.\n# More.\nname: a\n", "One thing: two"),
        ("# A text that goes\n# on. And on.\nname: a\n", "A text that goes on"),
        ("# Without an end\nname: a\n", "Without an end"),
        ("name: a\n", ""),
    ],
)
def test_a_title_is_the_first_sentence(text, expected):
    assert presets.title(text) == expected
