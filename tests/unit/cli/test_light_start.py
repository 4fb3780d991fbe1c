"""Help, completion and `validate` start fast: they import no library that they do not need. Counts, no times.

`benchmarks/start.py` measures the times.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from side4video.cli.completion import COMPLETION_VARIABLE
from side4video.cli.main import COMMANDS
from tiny import DOCUMENT, merged

ROOT = Path(__file__).resolve().parents[3]
HEAVY = (
    *("torch", "torchvision", "timm", "open_clip", "transformers", "numpy", "scipy", "sklearn", "pandas", "matplotlib"),
    *("mlflow", "ray", "optuna", "tensorboard", "wandb", "av", "decord", "PIL", "pyarrow", "fsspec", "jinja2", "rich"),
)
"""What no help, no completion and no check of a document needs."""
DOCUMENTS = ("pydantic", "pydantic_core", "yaml", "side4video.core.spec")
"""What help and completion do not need either: no document is read."""


def loaded(code: str, names: tuple[str, ...], environment: dict[str, str] | None = None) -> list[list[str]]:
    """The lines of names that a fresh process prints with `report()`: those of `names` that it has imported by then."""
    head = (
        "import json, os, sys\n"
        f"def report(): sys.__stdout__.write(json.dumps([each for each in {names!r} if each in sys.modules]) + '\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def loaded_by_help(before: str = "") -> dict[str, list[str]]:
    """What the help pages have imported, one after the other in one process: that of the program, of each command and
    of each command in a group; with `before` as the first statement.
    """
    code = f"""
{before}
import io
import click
from side4video.cli.main import cli
def show(words, command):
    sys.stdout = io.StringIO()
    cli.main([*words, "--help"], standalone_mode=False)
    assert "Usage" in sys.stdout.getvalue()
    sys.stdout = sys.__stdout__
    print(json.dumps(" ".join(words)))
    report()
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            show([*words, name], command.get_command(click.Context(command), name))
show([], cli)
"""
    lines = loaded(code, (*HEAVY, *DOCUMENTS))
    return dict(zip(map(str, lines[::2]), lines[1::2], strict=True))


def completion(words: str) -> dict[str, str]:
    """The environment in which a shell asks for the last word."""
    return {COMPLETION_VARIABLE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}


def loaded_by(arguments: list[str], names: tuple[str, ...], *, before: str = "", words: str = "") -> list[str]:
    """What the command line has imported at its end; with `words` a shell asks it to complete them."""
    code = f"""
{before}
import atexit
atexit.register(report)
sys.stdout = open(os.devnull, "w")
sys.argv = ["side4video", *{arguments!r}]
from side4video.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code or {arguments!r}[:1] == ["validate"] or {words!r}, end.code
"""
    (line,) = loaded(code, names, completion(words) if words else None)
    return line


def test_no_help_page_imports_a_library_or_a_document():
    pages = loaded_by_help()
    assert {"", *COMMANDS, "data check", "figure memory", "report table2"} <= pages.keys()
    assert {words: found for words, found in pages.items() if found} == {}


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("import side4video.data.decode.frames", "numpy"),
        ("import side4video.spec.experiment", "pydantic"),
        ("import side4video.terminal.tables", "rich"),
    ],
)
def test_a_command_that_imports_one_would_be_noticed(before, found):
    """The broken twin: an import at the top of a command's module."""
    assert found in loaded_by_help(before)[""]


@pytest.mark.parametrize("words", ["side4video ev", "side4video ", "side4video list m", "side4video plan quick"])
def test_completion_imports_no_library_and_no_document(words):
    assert loaded_by([], (*HEAVY, *DOCUMENTS), words=words) == []


def documents(folder: Path) -> dict[str, str]:
    """A document of each kind by a name, as `validate` takes them."""
    retrieval = yaml.safe_load((ROOT / "experiments/quickstart-retrieval.yaml").read_text())
    files = {
        "experiment": DOCUMENT,
        "of retrieval": retrieval,
        "wrong": merged(DOCUMENT, {"method": {"widht": 3}}),
        "sweep": {"name": "two", "base": "experiment.yaml", "grid": {"method.dim": [32, 64]}},
    }
    for name, document in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return {name: str(folder / f"{name}.yaml") for name in files} | {
        "preset": "quickstart",
        "preset of a sweep": "quickstart-sweep",
        "preset of a search": "quickstart-search",
        "missing": str(folder / "missing.yaml"),
    }


KINDS = ("experiment", "of retrieval", "wrong", "sweep", "preset", "preset of a sweep", "preset of a search", "missing")


@pytest.mark.parametrize("kind", KINDS)
def test_validate_imports_no_library(tmp_path, kind):
    assert loaded_by(["validate", documents(tmp_path)[kind]], HEAVY) == []


def test_a_document_beside_numpy_would_be_noticed(tmp_path):
    """The broken twin: a document's module with an import that its numbers need and its fields do not."""
    before = "import side4video.data.decode.frame_choice"
    assert loaded_by(["validate", documents(tmp_path)["experiment"]], HEAVY, before=before) == ["numpy"]
