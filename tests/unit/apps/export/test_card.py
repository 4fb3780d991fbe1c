"""The card of a model whose names hold markup is still the same page; it runs and shows nothing of theirs."""

import re

import yaml

from side4video.apps.export.card import card_header, model_card, model_page
from side4video.spec.bundle import Bundle
from tiny import tiny

NAME = "<script>alert(1)</script>\n# heading [a](http://evil.example) `x` \x1b\u202e"
CLASSES = ("ordinary", NAME, "a\n---\nlicense: mit")


def bundle(name=NAME, classes=CLASSES):
    return Bundle(name, classes, "0" * 64, {"eval/top1": 0.5}, {"run": name, "weights": "last"}, graph=name)


def test_the_page_is_that_of_plain_names():
    plain = model_page(bundle("a", ("b", "c", "d")), tiny())
    page = model_page(bundle(), tiny())
    assert [line[:4] for line in page.splitlines()] == [
        line[:4] if not line.startswith("# ") else "# \\<" for line in plain.splitlines()
    ]
    outside = re.sub(r"(`+).*?\1", "", page)
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\((?!http://evil)|\]\(http|[\x00-\x09\x0b-\x1f\u202e]", outside)
    assert not re.search("[\x1b\u202e]", page)


def test_a_page_with_names_as_they_are_is_noticed(monkeypatch):
    """The broken twin."""
    monkeypatch.setattr("side4video.apps.export.card.escape_markdown", str)
    assert "\n# heading" in model_page(bundle(), tiny())


def test_the_header_is_read_as_it_was_meant():
    card = model_card(bundle(), tiny())
    _, header, _ = card.split("---\n", 2)
    assert yaml.safe_load(header) == card_header(bundle(), tiny())
    assert "license" not in yaml.safe_load(header)
