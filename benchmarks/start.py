"""What the command line takes to start: CPU seconds of help pages, of completion and of checks of documents.

    python benchmarks/start.py [--times 15] [--before REVISION]

A value is user and system time of one process, with all that it imports; the files of bytecode are there. With
`--before`, that revision is checked out into a temporary worktree and measured in turns with this tree, so that both
meet the same load of the machine. Beside the times stand the modules that cost most on their own, by `-X importtime`,
which slows each import. Writes benchmarks/results/start.json; `tests/unit/cli/test_light_start.py` holds what must not
be imported.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COSTLIEST = 15
"""Modules of a profile."""
COMMANDS: Mapping[str, Sequence[str]] = {
    "--help": ("--help",),
    "run --help": ("run", "--help"),
    "plan --help": ("plan", "--help"),
    "sweep --help": ("sweep", "--help"),
    "figure memory --help": ("figure", "memory", "--help"),
    "validate, an experiment": ("validate", "quickstart"),
    "validate, a sweep": ("validate", "quickstart-sweep"),
    "completion of a command": (),
    "completion of a preset": (),
}
"""Arguments by what is measured."""
COMPLETED = {"completion of a command": "side4video ev", "completion of a preset": "side4video plan quick"}
"""What a shell asks to complete."""
PROFILED = ("--help", "validate, an experiment")


def environment(tree: Path, home: Path, name: str) -> dict[str, str]:
    """Variables of a command of a tree: its code, an empty home, and what a shell asks."""
    found = {**os.environ, "PYTHONPATH": str(tree / "platform"), "SIDE4VIDEO_HOME": str(home)}
    for each in ("MLFLOW_TRACKING_URI", "SIDE4VIDEO_PLUGINS", "PYTHONDONTWRITEBYTECODE"):
        found.pop(each, None)
    if words := COMPLETED.get(name):
        found |= {"_SIDE4VIDEO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return found


def call(tree: Path, home: Path, name: str, *options: str) -> tuple[float, str]:
    """Call a command once.

    Returns:
        The CPU seconds of its process, user and system, and what it wrote to stderr.

    Raises:
        RuntimeError: It failed, or printed nothing.
    """
    command = [sys.executable, *options, "-m", "side4video", *COMMANDS[name]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment(tree, home, name), cwd=home, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or not done.stdout:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-500:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stderr


def costliest(messages: str) -> list[dict[str, Any]]:
    """The modules with the largest times of their own, of what `-X importtime` wrote."""
    rows = []
    for line in messages.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if line.startswith("import time:") and own.strip().isdigit():
            rows.append({"module": rest.partition("|")[2].strip(), "own_ms": int(own) / 1e3})
    return sorted(rows, key=lambda row: -row["own_ms"])[:COSTLIEST]


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A revision of this repository in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="start-before-") as name:
        tree = Path(name) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), revision], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def measure(trees: Mapping[str, Path], home: Path, *, times: int) -> dict[str, Any]:
    """Times and profiles of each tree, by its label; the trees take turns."""
    seconds: dict[str, dict[str, list[float]]] = {label: {name: [] for name in COMMANDS} for label in trees}
    for number in range(times + 1):
        for name in COMMANDS:
            for label, tree in trees.items():
                taken, _ = call(tree, home, name)
                if number:  # the first one writes bytecode
                    seconds[label][name].append(taken)
        print(f"{number} of {times} rounds", flush=True)
    return {
        label: {
            "revision": revision_of(tree),
            "cpu_s": {name: spread(values) for name, values in seconds[label].items()},
            "costliest_imports": {name: costliest(call(tree, home, name, "-X", "importtime")[1]) for name in PROFILED},
        }
        for label, tree in trees.items()
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {name: round(take(values), 3) for name, take in (("median", statistics.median), ("min", min), ("max", max))}


def revision_of(tree: Path) -> str:
    """The commit of a tree."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=15, help="Calls of each command.")
    parser.add_argument("--before", default="", metavar="REVISION", help="Also measure this revision.")
    given = parser.parse_args(arguments)
    with contextlib.ExitStack() as held:
        home = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="start-home-")))
        trees = {"before": held.enter_context(worktree(given.before))} if given.before else {}
        found = measure({**trees, "now": ROOT}, home, times=given.times)
    import bench  # with torch, which what is measured does not need

    asked = f" --before {given.before}" if given.before else ""
    record = {"command": f"python benchmarks/start.py --times {given.times}{asked}", "times": given.times, **found}
    print(json.dumps({label: each["cpu_s"] for label, each in found.items()}, indent=2))
    print(bench.save("start", record))


if __name__ == "__main__":
    main()
