"""How many small faults, planted one at a time, no test notices.

    python benchmarks/mutation.py --sample 200
    python benchmarks/mutation.py --sample 20 --modules platform/side4video/planning/packs.py

First the unit tests run once on the package as it is: they must pass, and it is seen which functions each of them
calls. Then each fault of the sample is planted in a copy of the working tree, and the tests that call the function
around it run, the quickest first; if all pass, their whole files do, and then the promises of `tests/conformance` that
the configuration names. A fault at a module's or a class's level meets all files.

`benchmarks/mutation.toml` says what is changed and which tests are to notice. `benchmarks/mutation_equivalent.json`
lists faults that change nothing that anybody could see, each with the reason. They are known by the lines before and
after, not by place, so a list survives a move; it has to be looked at again where such a line changes.
"""

import argparse
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation_operators import Mutant, mutants_of

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "benchmarks" / "mutation.toml"
EQUIVALENT = ROOT / "benchmarks" / "mutation_equivalent.json"
QUICK = ["-q", "-x", "--no-header", "--tb=no", "--durations=1", "-p", "no:cacheprovider"]
CHOSEN = ["-m", "not slow and not long and not gpu"]
FIRST = 80
"""Tests of the first look, at most."""
PASSED, NOT_FOUND, NONE_CHOSEN = 0, 4, 5
BASELINE_SECONDS = 3600
BY_A_PROMISE = "killed by a promise"


@dataclass(frozen=True)
class Reach:
    """What a test calls."""

    test: str
    seconds: float
    functions: frozenset[str]

    @property
    def file(self) -> str:
        """Where it stands."""
        return self.test.partition("::")[0]


@dataclass(frozen=True)
class Look:
    """Tests that run together."""

    name: str
    """What becomes of a fault that they notice."""
    tests: Sequence[str]
    seconds: float
    """After so long they hang."""


class Copy:
    """A copy of the working tree in which one fault at a time is planted."""

    def __init__(self, folder: Path) -> None:
        """Copy what git knows or would add."""
        self.folder = folder
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)

    def pytest(self, arguments: Iterable[str], *, seconds: float, tells: bool = False, **more: str) -> int | None:
        """Run tests; the exit code, or None when they take too long."""
        paths = os.pathsep.join(str(self.folder / each) for each in ("platform", "benchmarks"))
        known = {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", *QUICK, *CHOSEN, *arguments]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=known | more,
            stdout=None if tells else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return None

    def outcome(self, mutant: Mutant, looks: Sequence[Look]) -> str:
        """`killed`, `killed by a promise`, `timeout` or `survived`."""
        path = self.folder / mutant.file
        source = path.read_bytes()
        try:
            path.write_bytes(mutant.apply(source))
            for look in looks:
                code = self.pytest(look.tests, seconds=look.seconds) if look.tests else PASSED
                if code is None:
                    return "timeout"
                # The name of a test may hold what the fault changes; its file is still there.
                if code not in (PASSED, NONE_CHOSEN) and not (code == NOT_FOUND and look is looks[0]):
                    return look.name
            return "survived"
        finally:
            path.write_bytes(source)


def tests_of(module: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The unit tests of a module, and the promises."""
    path = Path(module["path"])
    folder = path if path.suffix != ".py" else path.parent
    own = module.get("tests", [str(Path("tests/unit", *folder.parts[2:]))])
    return [each for each in own if (ROOT / each).exists()], module.get("with", [])


def files_of(module: dict[str, Any]) -> list[str]:
    path = ROOT / module["path"]
    found = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    return [each.relative_to(ROOT).as_posix() for each in found]


def watch(copy: Copy, tests: Iterable[str], *, processes: int) -> list[Reach]:
    """Run the tests on the package as it is.

    Raises:
        SystemExit: They do not pass.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["-p", "mutation_reach", "-n", str(processes), *sorted(set(tests))]
        code = copy.pytest(arguments, seconds=BASELINE_SECONDS, tells=True, MUTATION_REACH=folder)
        if code != PASSED:
            raise SystemExit(f"the tests do not pass on the package as it is (pytest ended with {code})")
        seen = {
            name: each for path in Path(folder).glob("*.json") for name, each in json.loads(path.read_bytes()).items()
        }
    return [Reach(name, each["seconds"], frozenset(each["functions"])) for name, each in seen.items()]


def looks_at(mutant: Mutant, tests: Sequence[str], reached: Sequence[Reach], *, patience: float) -> list[Look]:
    """The unit tests to run: those that call the function, the quickest first, then their whole files."""
    mine = [each for each in reached if any(Path(each.file).is_relative_to(test) for test in tests)]
    place, stem = f"{mutant.file}:{mutant.function}", Path(mutant.file).stem
    callers = [each for each in mine if not mutant.function or place in each.functions]
    callers.sort(key=lambda each: (not mutant.function and stem not in each.file, each.seconds))
    files = {each.file for each in callers}
    inside = [each for each in mine if each.file in files]
    spent = {file: sum(each.seconds for each in inside if each.file == file) for file in files}
    first, limit = callers[:FIRST], lambda some: patience + 6 * sum(each.seconds for each in some)
    return [
        Look("killed", [each.test for each in first], limit(first)),
        Look("killed", sorted(files, key=lambda file: spent[file]), limit(inside)),
    ]


def diff_of(mutant: Mutant) -> tuple[str, str]:
    """The lines before and after, stripped."""
    before = (ROOT / mutant.file).read_bytes()
    pair = (each.decode().splitlines() for each in (before, mutant.apply(before)))
    lines = [
        line for line in difflib.unified_diff(*pair, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))
    ]
    gone, come = ([line[1:].strip() for line in lines if line[0] == sign] for sign in "-+")
    return "\n".join(gone), "\n".join(come)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=200, help="how many faults; 0 is all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--modules", nargs="*", default=[], help="only files under these paths")
    parser.add_argument("--minutes", type=float, default=0, help="begin no further fault after so long; 0 is no limit")
    chosen = parser.parse_args()
    configuration = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))
    tests = {file: tests_of(module) for module in configuration["modules"] for file in files_of(module)}
    within = [Path(each) for each in chosen.modules] or [Path()]
    tests = {file: each for file, each in tests.items() if any(Path(file).is_relative_to(path) for path in within)}
    everything = [mutant for file in sorted(tests) for mutant in mutants_of(file, (ROOT / file).read_bytes())]
    size = min(chosen.sample or len(everything), len(everything))
    sample = random.Random(chosen.seed).sample(everything, size)  # noqa: S311 - the same each time
    judged = {(each["before"], each["after"]): each["reason"] for each in json.loads(EQUIVALENT.read_bytes())}
    sample_to_run = [mutant for mutant in sample if diff_of(mutant) not in judged]
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(Path(folder, str(number))) for number in range(chosen.processes)]
        reached = watch(copies[0], [each for some, _ in tests.values() for each in some], processes=chosen.processes)
        print(
            f"{len(reached)} tests pass; {len(everything)} faults, {size} drawn, {size - len(sample_to_run)} equivalent"
        )
        local, deadline = threading.local(), time.monotonic() + 60 * (chosen.minutes or 1e6)

        def judge(mutant: Mutant) -> str:
            if time.monotonic() > deadline:
                return "not run"
            if not hasattr(local, "copy"):
                local.copy = copies.pop()
            unit, promises = tests[mutant.file]
            looks = looks_at(mutant, unit, reached, patience=configuration["patience_seconds"])
            looks.append(Look(BY_A_PROMISE, promises, configuration["promises_seconds"]))
            found = local.copy.outcome(mutant, looks)
            print(f"{found:19} {mutant.file}:{mutant.line} {mutant.operator}", flush=True)
            return found

        with ThreadPoolExecutor(chosen.processes) as pool:
            outcomes = list(pool.map(judge, sample_to_run))
        used = {mutant.file for mutant, each in zip(sample_to_run, outcomes, strict=True) if each == BY_A_PROMISE}
        promises = sorted({each for file in used for each in tests[file][1]})
        if promises and Copy(Path(folder, "whole")).pytest(promises, seconds=BASELINE_SECONDS, tells=True) != PASSED:
            raise SystemExit("the promises are not kept by the package as it is")
    write(sample_to_run, outcomes, faults=len(everything), equivalent=size - len(sample_to_run))


def write(mutants: Sequence[Mutant], outcomes: Sequence[str], *, faults: int, equivalent: int) -> None:
    """Say what was found, in a file and on the screen."""
    from bench import save

    counts = Counter(outcomes)
    run = len(mutants) - counts["not run"]
    active_students = [each for each in zip(mutants, outcomes, strict=True) if each[1] == "survived"]
    survivors = []
    for mutant, _ in sorted(active_students, key=lambda each: (each[0].file, each[0].line)):
        before, after = diff_of(mutant)
        survivors.append(
            {"file": mutant.file, "line": mutant.line, "operator": mutant.operator, "before": before, "after": after}
        )
    share = len(active_students) / run if run else 0.0
    command = "python benchmarks/mutation.py " + " ".join(sys.argv[1:])
    figures = {"faults": faults, "run": run, "equivalent": equivalent, **counts, "living_share": round(share, 4)}
    result = save("mutation", {"command": command.strip(), **figures, "survivors": survivors})
    for each in survivors:
        print(f"{each['file']}:{each['line']} {each['operator']}\n  - {each['before']}\n  + {each['after']}")
    print(
        f"{len(active_students)} of {run} faults live ({share:.1%}), {equivalent} drawn ones are equivalent: {result}"
    )


if __name__ == "__main__":
    main()
