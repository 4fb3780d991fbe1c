"""Text for display."""

import re
from contextlib import suppress

from side4video.core.units import format_duration

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, keep: str = "") -> str:
    r"""The text as it can be shown anywhere: nothing in it moves a cursor, ends a line or turns the direction of text.

    Names of classes, files and runs may hold anything. Control characters, line and paragraph separators, and what
    overrides the direction of writing are shown as `\u001b`, as in JSON, except those in `keep`. Bytes of file names
    that are not UTF-8 become a replacement character.
    """
    if text.isascii() and text.isprintable():
        return text
    with suppress(UnicodeEncodeError):  # a surrogate that stands for no byte is shown as such
        text = text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


def escape_markdown(text: str) -> str:
    """Text as one line that Markdown shows as it is, also in a cell of a table: no markup, no HTML, no link."""
    return re.sub(r"([\\|*`<&]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", printable(" ".join(text.split())))


def sentence_start(text: str) -> str:
    """The text with a capital letter first, unless its first word has a spelling of its own, such as `mAP`."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first == first.lower() else text


def markdown_code(text: str) -> str:
    """Text as code in one line of Markdown, between as many backticks as it needs."""
    text = printable(" ".join(text.split()))
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"


def format_length(seconds: float | None) -> str:
    """`2.4 s`, `3 min 05 s`; a dash if unknown."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(seconds)
