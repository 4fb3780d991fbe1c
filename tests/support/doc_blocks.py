"""The code blocks of Markdown pages, and what is to be done with each of them.

A fence says its language. A comment in front of it may say more, in parts divided by semicolons:

    <!-- block: file my.yaml -->            it is this file in the page's folder, too
    <!-- block: fragment BASE.yaml -->      it is a part of a document, valid when it is merged into that one
    <!-- block: not-run WHY -->             its commands cannot run here, for this reason; they are parsed
    <!-- block: exit 2 -->                  its last command ends with this exit code
    <!-- block: printed -->                 text: what the Python block before it prints
    <!-- block: shown WHY -->               text or code that nobody runs, for this reason

And one for the whole page, at its top: `<!-- page: long -->` (it takes more than seconds), `own-package` (what it does
to the package, it does to a copy), `own-command` (its commands have words that only the copy knows).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LANGUAGES = {"yaml", "python", "console", "bash", "text", "diff"}
MARKS = {"file", "fragment", "not-run", "exit", "printed", "shown"}
PAGE_MARKS = {"long", "own-command", "own-package"}
NEED_A_VALUE = MARKS - {"printed"}

_FENCE = re.compile(r"^(?P<ticks>`{3,}|~{3,}|:{3,})(?P<word>[^\n`]*)$")
_COMMENT = re.compile(r"^<!-- block: (?P<parts>.*) -->$")
_PAGE = re.compile(r"^<!-- page: (?P<parts>.*) -->$", re.MULTILINE)


class BlockError(AssertionError):
    """A block is not what it should be; it says which one."""


@dataclass(frozen=True)
class Block:
    """One fence."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.page}:{self.line}"

    def has(self, mark: str) -> bool:
        """Whether it is marked so."""
        return mark in self.marks


def page_marks(text: str) -> set[str]:
    """What is said of a whole page."""
    found = _PAGE.search(text)
    marks = set(found["parts"].split()) if found else set()
    if unknown := marks - PAGE_MARKS:
        raise BlockError(f"unknown marks of a page: {sorted(unknown)}")
    return marks


def blocks_of(path: Path, *, told: dict[str, tuple[str, dict[str, str]]] | None = None) -> list[Block]:
    """The blocks of a page that are code.

    Args:
        path: The page.
        told: Of a page that carries no comments: language and marks of each block by the beginning of its text.

    Raises:
        BlockError: A block has no language or an unknown one, or a comment that says nothing known.
    """
    return list(_blocks(path.name, path.read_text(encoding="utf-8"), told))


def _blocks(page: str, text: str, told: dict[str, tuple[str, dict[str, str]]] | None) -> Iterator[Block]:
    lines = text.split("\n")
    comment, number = "", 0
    while number < len(lines):
        line = lines[number].strip()
        fence = _FENCE.match(line)
        if fence is None:
            if match := _COMMENT.match(line):
                comment = match["parts"]
            elif line:
                comment = ""
            number += 1
            continue
        word = fence["word"].strip()
        is_closing = fence["ticks"].startswith(":") and not word
        end = next((at for at in range(number + 1, len(lines)) if lines[at].strip() == fence["ticks"]), None)
        if end is None and not is_closing:
            raise BlockError(f"{page}:{number + 1}: the fence is not closed")
        if word.startswith("{") or fence["ticks"].startswith(":"):
            # A directive of the page, not code. Those with colons may hold fences.
            comment, number = "", number + 1 if end is None or fence["ticks"].startswith(":") else end + 1
            continue
        indent = len(lines[number]) - len(lines[number].lstrip())
        inside = "\n".join(each[indent:] for each in lines[number + 1 : end])
        yield _block(page, number + 1, word, inside, comment, told)
        comment, number = "", end + 1


def _block(
    page: str, line: int, word: str, text: str, comment: str, told: dict[str, tuple[str, dict[str, str]]] | None
) -> Block:
    place = f"{page}:{line}"
    marks = _marks(comment, place)
    known = next((each for start, each in (told or {}).items() if text.startswith(start)), None)
    if known is not None:
        word, marks = word or known[0], {**marks, **known[1]}
    if word not in LANGUAGES:
        raise BlockError(f"{place}: the language {word!r} is none of {sorted(LANGUAGES)}")
    if word == "text" and not {"printed", "shown"} & marks.keys():
        raise BlockError(f"{place}: text is `printed` by a block of code, or `shown` for a reason")
    return Block(page, line, word, text, marks)


def _marks(comment: str, place: str) -> dict[str, str]:
    marks = {}
    for part in filter(None, (part.strip() for part in comment.split(";"))):
        name, _, value = part.partition(" ")
        if name not in MARKS:
            raise BlockError(f"{place}: unknown mark {name!r} · allowed: {sorted(MARKS)}")
        if name in NEED_A_VALUE and not value.strip():
            raise BlockError(f"{place}: {name} says nothing")
        marks[name] = value.strip()
    return marks
