"""A folder in which the blocks of one page are carried out, one after the other, as a reader would.

`experiments/` lies in it, and every file that the page says it wrote. A page that changes the package (`own-package`)
has a copy of `platform/`, and its commands and Python run in processes that import from there.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from doc_blocks import Block, BlockError
from doc_commands import Command, commands_of, is_as_shown, parse
from side4video.cli.main import main
from side4video.core.errors import InputError
from side4video.spec import load_experiment, parse_experiment
from side4video.spec.arm import build_sweep, load_sweep
from side4video.spec.load import parse_document, read_yaml
from side4video.spec.sweep import SweepSpec
from tiny import merged

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("grid", "tables", "random", "optuna")
"""Of which a sweep has exactly one."""
COPIED = ("platform", "tests/support", "tests/conformance")
"""Of a page that changes the package: what it may change, and the promises that must hold of it then."""
COLUMNS = "110"
"""Width of the terminal that outputs are shown of."""


class Sandbox:
    """Carries out blocks; what one leaves, the next one finds."""

    def __init__(self, folder: Path, *, own_package: bool = False, patched: bool = True) -> None:
        """Make the folder's content.

        Args:
            folder: An empty folder.
            own_package: Whether it holds a copy of the package.
            patched: Whether diffs are applied; a test of the test leaves them out.
        """
        self.folder, self.own_package, self.patched = folder, own_package, patched
        self.home = folder / "home"
        self.names: dict[str, object] = {}
        self.printed = ""
        (folder / "experiments").symlink_to(ROOT / "experiments")
        if own_package:
            for part in COPIED:
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            for part in ("pyproject.toml", "tests/conftest.py"):
                shutil.copy(ROOT / part, folder / part)

    def carry_out(self, block: Block) -> None:
        """Do what the block is for.

        Raises:
            BlockError: It does not do what the page says.
        """
        if block.has("file"):
            path = self.folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        if block.has("shown") or (block.has("file") and block.language != "yaml"):
            return
        if block.has("printed"):
            if not is_as_shown(block.text, self.printed):
                raise BlockError(f"{block.place}: printed was\n{self.printed}")
        elif block.language == "yaml":
            self._validate(block)
        elif block.language == "diff":
            if self.patched:
                apply_diff(self.folder, block)
        elif block.language == "python":
            self._run_python(block)
        else:
            self._run_commands(block)

    def _run_commands(self, block: Block) -> None:
        commands = commands_of(block)
        for command in commands:
            if not self.own_package:
                parse(command)
            if block.has("not-run"):
                continue
            if command.program != "side4video" and not (self.own_package and command.program == "pytest"):
                raise BlockError(f"{block.place}: {command.line!r} is not ours and not marked `not-run WHY`")
            expected = int(block.marks.get("exit", 0)) if command is commands[-1] else 0
            code, printed = self.call(command)
            if code != expected:
                raise BlockError(f"{block.place}: {command.line!r} ended with {code}, not {expected}:\n{printed}")
            if command.shown and not is_as_shown(command.shown, printed):
                raise BlockError(f"{block.place}: {command.line!r} printed\n{printed}\nand shown is\n{command.shown}")

    def call(self, command: Command) -> tuple[int, str]:
        """The exit code and what is printed, on both channels."""
        changes = {**self._environment(), **command.environment}
        if self.own_package:
            call = [sys.executable, "-m", command.program, *command.arguments]
            return self._process(call, changes)
        printed, before = io.StringIO(), (os.environ.copy(), Path.cwd(), sys.argv)
        try:
            os.environ.update(changes)
            os.chdir(self.folder)
            sys.argv = ["side4video", *command.arguments]
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                try:
                    main()
                    code = 0
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 1
        finally:
            os.chdir(before[1])
            sys.argv = before[2]
            os.environ.clear()
            os.environ.update(before[0])
        return code, printed.getvalue()

    def _environment(self) -> dict[str, str]:
        return {"SIDE4VIDEO_HOME": str(self.home), "COLUMNS": COLUMNS, "TERM": "dumb", "NO_COLOR": "1"}

    def _process(self, call: list[str], changes: dict[str, str]) -> tuple[int, str]:
        paths = [str(self.folder / "platform"), str(self.folder / "tests" / "support")]
        environment = {**os.environ, **changes, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(
            call,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        return done.returncode, done.stdout

    def _run_python(self, block: Block) -> None:
        if self.own_package:
            code, self.printed = self._process([sys.executable, "-c", block.text], self._environment())
            if code:
                raise BlockError(f"{block.place}: ended with {code}:\n{self.printed}")
            return
        printed, before, folder = io.StringIO(), os.environ.copy(), Path.cwd()
        try:
            os.environ.update(self._environment())
            os.chdir(self.folder)
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, block.place, "exec"), self.names)  # noqa: S102 - the page's own code
        except Exception as error:
            raise BlockError(f"{block.place}: {type(error).__name__}: {error}") from error
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
        self.printed = printed.getvalue()

    def _validate(self, block: Block) -> None:
        """Read a document, or a part of one in its place, with the real reader."""
        if self.own_package:
            return  # the commands of the page validate it, with the package it is for
        try:
            if block.has("fragment"):
                self._validate_fragment(block)
                return
            path = self.folder / block.marks.get("file", ".document.yaml")
            path.write_text(block.text + "\n", encoding="utf-8")
            if "base" in read_yaml(block.text, block.place):
                load_sweep(path)
            else:
                load_experiment(path)
        except InputError as error:
            raise BlockError(f"{block.place}: {error}") from error

    def _validate_fragment(self, block: Block) -> None:
        base = self.folder / block.marks["fragment"]
        document, part = read_yaml(base.read_text(), str(base)), read_yaml(block.text, block.place)
        if "base" not in document:
            parse_experiment(merged(document, part), source=block.place)
            return
        if any(way in part for way in WAYS):
            document = {key: value for key, value in document.items() if key not in WAYS}
        spec = parse_document(SweepSpec, {**document, **part}, source=block.place)
        if isinstance(spec.base, str):
            path = (base.resolve().parent if "base" not in part else self.folder) / spec.base
            build_sweep(spec, yaml.safe_load(path.read_text()), block.place)
        else:
            build_sweep(spec, spec.base, block.place)


def apply_diff(folder: Path, block: Block) -> None:
    """Apply a diff without line numbers: the lines of each hunk that stay or go must stand once in the file, together.

    Raises:
        BlockError: A file or a hunk's place is not there, or is there twice.
    """
    path: Path | None = None
    hunks: list[list[str]] = []

    def flush() -> None:
        for hunk in filter(None, hunks):
            if path is None or not path.is_file():
                raise BlockError(f"{block.place}: the diff names no file that is there: {path}")
            text = path.read_text(encoding="utf-8")
            old = "".join(f"{line[1:]}\n" for line in hunk if line[:1] in (" ", "-"))
            new = "".join(f"{line[1:]}\n" for line in hunk if line[:1] in (" ", "+"))
            if not old or text.count(old) != 1:
                raise BlockError(f"{block.place}: these lines stand {text.count(old)} times in {path.name}:\n{old}")
            path.write_text(text.replace(old, new), encoding="utf-8")

    for line in block.text.split("\n"):
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            flush()
            path, hunks = folder / line.split()[1].removeprefix("b/"), []
        elif line.startswith("@@"):
            hunks.append([])
        elif hunks:
            hunks[-1].append(line or " ")
    flush()
