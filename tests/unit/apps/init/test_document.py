"""YAML with comments: reading it gives the document, whatever stands in names."""

import pytest
import yaml

from side4video.apps.init.document import as_yaml
from side4video.spec.load import read_yaml

HOSTILE = [
    "/clips/two words",
    "/clips/a: b",
    "/clips/a #b",
    "it's",
    '"quoted"',
    "-leading",
    "- item",
    "--",
    "?",
    "~",
    "no",
    "1e3",
    "0x10",
    "null",
    "2020-01-01",
    "{brace}",
    "[bracket], and",
    "*anchor",
    "&anchor",
    "!tag",
    "%directive",
    "@at",
    "`tick`",
    "back\\slash",
    "日本語/видео/ñ",
    "\U0001f3ac film",
    "line\nbreak",
    "tab\there",
    "paragraph\u2029separator",
    "right-to-left \u202e override",
    "bell\x07",
    " surrounded ",
    "",
    "x" * 400,
    "${HOME}/clips",
    "<<",
    "=",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back(text):
    document = {"name": "a", "data": {"dataset": {"kind": "list", "root": text, "names": [text, "b"]}, text or "k": 1}}
    comments = {"data": [f"above {text}"], "data.dataset": [text]}
    written = as_yaml(document, comments, [text, "second"])
    assert read_yaml(written, "a file") == document


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_comment_ends_it(text):
    written = as_yaml({"name": "a"}, {"name": [text]}, [text])
    assert [line for line in written.splitlines() if line and not line.startswith("#")] == ["name: a"]
    assert "\x07" not in written
    assert "\u202e" not in written


def test_a_writer_that_quotes_nothing_is_noticed():
    wrong = []
    for text in HOSTILE:
        try:
            is_same = yaml.safe_load(f"root: {text}\n") == {"root": text}
        except yaml.YAMLError:
            is_same = False
        wrong += [] if is_same else [text]
    assert len(wrong) > 15


def test_comments_stand_above_their_field():
    document = {"name": "a", "data": {"frames": 8, "loader": {"workers": 2}}, "seed": 1}
    written = as_yaml(document, {"data": ["Of the data."], "data.loader": ["Of the loader."]}, ["At the top."])
    assert written.splitlines() == [
        "# At the top.",
        "name: a",
        "",
        "# Of the data.",
        "data:",
        "  frames: 8",
        "  # Of the loader.",
        "  loader: {workers: 2}",
        "seed: 1",
    ]


def test_long_comments_are_divided_and_commands_are_not():
    written = as_yaml({"name": "a"}, {}, ["word " * 60, "  side4video validate " + "long " * 60])
    first, *others = [line for line in written.splitlines() if line.startswith("#")]
    assert len(first) <= 120
    assert sum("side4video" in line for line in others) == 1
    assert any(len(line) > 200 for line in others)
