"""Text that is shown says what it holds and does nothing."""

import pytest

from side4video.core.errors import InputError
from side4video.core.text import escape_markdown, markdown_code, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ein Hühnchen 小鸡 🐔 a\u200db", "ein Hühnchen 小鸡 🐔 a\u200db"),
        ("\x1b]0;title\x07", r"\u001b]0;title\u0007"),
        ("\x9b31m\x7f", r"\u009b31m\u007f"),
        ("a\nb\tc\r", r"a\u000ab\u0009c\u000d"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("exe.\u202e4pm \u2066x\u2069", r"exe.\u202e4pm \u2066x\u2069"),
        ("a\udcff \udcc3\udcbc", "a\ufffd ü"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_controls_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    printable(text).encode()


def test_lines_are_kept_where_they_are_wanted():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\u001b"


def test_errors_are_shown_the_same_way():
    error = InputError("class \x1b[31m", "a\u202eb", fix="no\nnew line")
    assert str(error) == r"class \u001b[31m: a\u202eb · fix: no new line"
    assert error.found == "a\u202eb"


def test_markdown_shows_text_as_it_is():
    assert escape_markdown("<script>[a](b)|`c`\n# d_\x1b") == r"\<script>[a]\(b)\|\`c\` # d\_\\u001b"
    assert markdown_code("a`b") == "`` a`b ``"
    assert markdown_code("a\n```b\x1b") == r"```` a ```b\u001b ````"
