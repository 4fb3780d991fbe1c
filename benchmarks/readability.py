"""How plain the words are: README, docs, help texts and error messages, of a revision and of the working tree.

    python benchmarks/readability.py [--before 2c9a96b] [--json]

For each kind of text:

words per sentence   inline code and each placeholder of a message count as one word
long sentences       share of sentences of more than 25 words
passive sentences    share with a form of *be*, at most one adverb, and a participle (a word in -ed, or an irregular
                     one). This simple rule also counts adjectives ("is limited") and misses "the file read here"
unknown words        share of words of three letters or more that stand in no docstring of the installed PyTorch, Ray
                     and MLflow, with and without a final s; code, names in capitals and numbers do not count

Prose of pages is counted: paragraphs, list items, and table cells of four words or more, without headings and code,
and in docs without generated parts, which have the words of the package. Messages are the string literals in what
`raise` raises. `--json` also writes benchmarks/results/readability.json.
"""

import argparse
import ast
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "ray", "mlflow")
LONG = 25
"""Words of a sentence; more are many."""
SHORTEST_CELL = 4
"""Words of a table cell that is read as a sentence."""
CODE = "0"
"""Stands for inline code: a word, but none to look up."""

_BE = r"\b(?:am|is|are|was|were|be|been|being|isn't|aren't|wasn't|weren't)\b"
_IRREGULAR = (
    "begun|bound|broken|brought|built|chosen|cut|done|drawn|driven|found|given|gone|held|hidden|kept|known|laid|left|lost|made|"
    "meant|met|paid|put|read|run|said|seen|sent|set|shown|split|stood|taken|thrown|told|understood|written"
)
PASSIVE = re.compile(rf"{_BE}(?:\s+(?:\w+ly|not|never|also|only|then|always|still))?\s+(?:\w+ed|{_IRREGULAR})\b", re.I)
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*|\d[\d.,]*")
LETTERS = re.compile(r"[A-Za-z]{3,}")
NEW_SENTENCE = re.compile(r"(?<=[.!?])[\"”)*]*\s+(?=[\"“(*]*[A-Z0-9])")

HELP = """
import json, sys
import click
from side4video.cli.main import cli

def texts(command, name):
    context = click.Context(command, info_name=name)
    yield command.help or ""
    yield from (each.help or "" for each in command.params if isinstance(each, click.Option))
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from texts(command.get_command(context, inner), inner)

json.dump(list(texts(cli, "side4video")), sys.stdout)
"""


def prose(markdown: str) -> Iterator[str]:
    """Paragraphs, list items and table cells of a page."""
    text = re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)
    text = re.sub(r"^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^( {4,}\S.*|:{3,}.*|#+ .*|\([\w-]+\)=|<img .*)$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ ]*(?:[-*+]|\d+\.|:) ", "\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().splitlines()
        rows = [line for line in lines if line.lstrip().startswith("|")]
        for row in rows:
            cells = (plain(cell) for cell in row.strip().strip("|").split("|"))
            yield from (cell for cell in cells if len(WORD.findall(cell)) >= SHORTEST_CELL)
        yield plain(" ".join(line for line in lines if line not in rows))


def written(markdown: str) -> str:
    """A page without its generated parts."""
    return re.sub(r"^<!-- generated: .*?^<!-- end -->$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """Text without Markdown's and HTML's marks; inline code becomes one word."""
    text = re.sub(r"\{\w+\}(`[^`]*`)", r"\1", text)  # a role is its code
    text = re.sub(r"`[^`]*`", CODE, text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", text.replace("**", "").replace("*", "")).strip()


def messages(tree: ast.AST) -> Iterator[str]:
    """String literals of what a module raises, one text for each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            formatted = [each for each in ast.walk(node.exc) if isinstance(each, ast.JoinedStr)]
            inside = {id(part) for each in formatted for part in each.values}
            for each in ast.walk(node.exc):
                if isinstance(each, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else CODE for part in each.values)
                    yield plain("".join(str(part) for part in parts))
                elif isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in inside:
                    yield plain(each.value)


def sentences(texts: Iterable[str]) -> list[str]:
    """Sentences of two words or more."""
    found = (sentence for text in texts for sentence in NEW_SENTENCE.split(text))
    return [sentence for sentence in found if len(WORD.findall(sentence)) > 1]


def vocabulary(names: Iterable[str] = LIBRARIES) -> set[str]:
    """Words in docstrings of installed packages, in lower case."""
    words: set[str] = set()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{name} is not installed")
        for path in Path(spec.origin).parent.rglob("*.py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            for docstring in re.findall(r'"""(.*?)"""', text, re.DOTALL):
                words.update(word.lower() for word in LETTERS.findall(docstring))
    return words


def unknown_words(texts: Iterable[str], known: set[str]) -> tuple[Counter[str], int]:
    """Words that are not known, and the number of all words that count."""
    words = [word for text in texts for word in LETTERS.findall(text) if not word.isupper()]
    lower = [word.lower() for word in words]
    return Counter(word for word in lower if word not in known and word.removesuffix("s") not in known), len(lower)


def measure(texts: Iterable[str], known: set[str]) -> dict[str, object]:
    """The measures of one kind of text."""
    found = sentences(texts)
    lengths = [len(WORD.findall(sentence)) for sentence in found]
    unknown, words = unknown_words(found, known)
    count = max(1, len(found))
    return {
        "sentences": len(found),
        "words_per_sentence": round(sum(lengths) / count, 1),
        "long_sentences": round(sum(length > LONG for length in lengths) / count, 3),
        "passive_sentences": round(sum(bool(PASSIVE.search(sentence)) for sentence in found) / count, 3),
        "unknown_words": round(unknown.total() / max(1, words), 4),
        "most_frequent_unknown_words": [word for word, _ in unknown.most_common(20)],
    }


def texts_of(tree: Path) -> dict[str, list[str]]:
    """All texts of a checkout, by kind."""
    pages = sorted((tree / "docs").rglob("*.md"))
    modules = sorted((tree / "platform").rglob("*.py"))
    return {
        "README": list(prose((tree / "README.md").read_text(encoding="utf-8"))),
        "docs": [text for page in pages for text in prose(written(page.read_text(encoding="utf-8")))],
        "help texts": [plain(text) for text in help_texts(tree)],
        "messages": [text for path in modules for text in messages(ast.parse(path.read_text(encoding="utf-8")))],
    }


def help_texts(tree: Path) -> list[str]:
    """Paragraphs of the help of all commands, from a process that imports the checkout's package."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "platform")}
    call = [sys.executable, "-c", HELP]
    printed = subprocess.run(call, check=True, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True).stdout
    texts = [re.sub(r"(?m)^\b\n", "", text) for text in json.loads(printed)]
    paragraphs = (part for text in texts for part in re.split(r"\n\s*\n", text))
    return [part for part in paragraphs if not part.lstrip().startswith("\b")]  # lines under \b are examples


def checkout(revision: str, folder: Path) -> None:
    """Write the files of a revision into a folder."""
    call = ["git", "archive", revision, "README.md", "docs", "platform"]
    archive = subprocess.run(call, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="2c9a96b", help="The revision to compare with.")
    parser.add_argument("--json", action="store_true", help="Also write benchmarks/results/readability.json.")
    options = parser.parse_args()
    known = vocabulary()
    with tempfile.TemporaryDirectory() as folder:
        checkout(options.before, Path(folder))
        before = {kind: measure(texts, known) for kind, texts in texts_of(Path(folder)).items()}
    after = {kind: measure(texts, known) for kind, texts in texts_of(ROOT).items()}
    for kind, measures in after.items():
        print(kind)
        for name, value in measures.items():
            if not isinstance(value, list):
                print(f"  {name:20s} {before[kind][name]!s:>8} -> {value!s:>8}")
    if options.json:
        record = {
            "what": "sentences and words of README, docs, help texts and error messages",
            "command": f"python benchmarks/readability.py --before {options.before} --json",
            "before": before,
            "after": after,
        }
        (ROOT / "benchmarks" / "results" / "readability.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
