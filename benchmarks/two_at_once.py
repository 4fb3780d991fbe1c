"""Every pair of commands that write, at once on one target: one works and the other says so, or both end well.

    python benchmarks/two_at_once.py [--times 10] [--others 2] [--only "export+data pack"] [--json]

The pairs share what they can: the same home, document, run, sweep, data set or folder. Each pair is called several
times from the same state; the second command begins at another part of the first one's time each time, from at once to
after its end, and the two change places. Then exit codes and sentences are looked at, and everything that is there is
compared with what each command leaves alone: every metric's step once, every run once, the same weights, the same
files, and nothing else. Pairs that share only the home are called `--others` times. Writes results/two-at-once.json.
"""

import argparse
import copy
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import home_record
import pair_faults
from forked_command import Ended, ForkedCommand, import_everything, start_command, wait_for_all
from full_disk import DOCUMENT, MAKE, RESULTS, damaged

WRITERS = (
    *("run --go-on", "run --resume", "sweep", "export", "data pack", "data make"),
    *("data check --html", "register", "report --out"),
)
LIMIT_SECONDS = 120.0
OFFSETS = (0.0, 0.3, 0.05, 0.6, 0.15, 0.9, 0.02, 0.45, 0.75, 1.1)
"""When the second command begins, in parts of the first one's time alone."""
NOTHING = "is finished; nothing was trained"
"""What `run --go-on` says if the experiment has a result, also that of an arm of a sweep."""
FOLDER_WRITERS = {"export", "data pack", "data check --html", "report --out"}


@dataclass(frozen=True)
class Pair:
    """Two commands at once."""

    one: str
    other: str

    @property
    def name(self) -> str:
        """Its name in results."""
        return f"{self.one} + {self.other}"

    @property
    def shares(self) -> str:
        """What both work on beside the home."""
        both = {self.one, self.other}
        runs, readers = both & {"run --go-on", "run --resume"}, both & {"export", "register"}
        if "data make" in both:
            return "" if both & {"report --out", "export", "register"} else "data set"  # which need no clips
        if both <= {"run --go-on", "run --resume"} or (runs and readers) or both <= {"export", "register"}:
            return "folder" if both == {"export"} else "run"
        if both == {"sweep"} or both == {"sweep", "report --out"}:
            return "sweep"
        if runs and "sweep" in both:
            return "experiment"
        return "folder" if both <= FOLDER_WRITERS else ""


@dataclass(frozen=True)
class Place:
    """A folder with documents, and a home that can be set back."""

    folder: Path

    @property
    def home(self) -> Path:
        """The home of all commands."""
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """That of all commands."""
        return {"SIDE4VIDEO_HOME": str(self.home), "TMPDIR": str(self.folder / "tmp")}

    def start(self, arguments: tuple[str, ...]) -> ForkedCommand:
        """Start a command."""
        return start_command(arguments, self.environment)

    def keep(self) -> None:
        """Keep the home as it is."""
        shutil.copytree(self.home, self.folder / "kept")

    def set_back(self, *, with_data: bool) -> None:
        """The kept home, and no folder that a command writes."""
        for name in ("home", "out", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.folder / "kept", self.home)
        (self.folder / "tmp").mkdir()
        if not with_data:
            for path in (self.home / "data").glob("motion-*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def arguments(self, name: str, other: str) -> tuple[str, ...]:
        """The words of a command beside another."""
        run = {"run --go-on": "fresh", "run --resume": "stopped"}
        document = {"run --go-on": "of-fresh", "run --resume": "of-stopped", "report --out": "half"}
        file = "stopped" if "run --resume" in (name, other) else "fresh"
        out = str(self.folder / "out")
        words = {
            "run --go-on": ["run", self.file(file), "--local", "--go-on"],
            "run --resume": ["run", self.file(file), "--local", "--resume"],
            "sweep": ["sweep", self.file(document.get(other, "many")), "--local"],
            "export": ["export", run.get(other, "done"), out, "--with-backbone"],
            "data pack": ["data", "pack", self.file("done"), out, "--files-per-shard", "10"],
            "data make": MAKE,
            "data check --html": ["data", "check", self.file("done"), "--html", f"{out}/page.html"],
            "register": ["register", run.get(other, "done"), "--name", "shared"],
            "report --out": ["report", "sweep", "half" if other == "sweep" else "finished", "--out", out],
        }
        return tuple(words[name])

    def file(self, name: str) -> str:
        """A document."""
        return str(self.folder / f"{name}.yaml")

    def record(self) -> dict[str, Any]:
        """What is there."""
        out = self.folder / "out"
        return {
            "runs": home_record.runs_of(self.home),
            "models": home_record.models_of(self.home),
            "data": home_record.data_of(self.home),
            "out": home_record.files_of(out),
            "left": home_record.leftovers(self.folder),
        }


def prepare(place: Place, names: set[str]) -> None:
    """What commands of these names read: documents, a data set, finished and interrupted runs and sweeps."""
    base: dict[str, Any] = {**copy.deepcopy(DOCUMENT), "cluster": {"cpus_per_worker": 1}}
    base["method"] = {"kind": "side4video", "layers": 1, "dim": 64}
    (place.folder / "tmp").mkdir()
    documents: dict[str, Any] = {
        name: {**base, "name": name, "seed": seed} for seed, name in enumerate(("done", "fresh", "stopped"))
    }
    grids = {"finished": base, "half": base, "many": base, "of-fresh": documents["fresh"]}
    grids["of-stopped"] = documents["stopped"]
    for seed, (name, under) in enumerate(grids.items(), 10):
        over = under if name.startswith("of-") else {**under, "seed": seed}
        dimension = (
            {"optimization.batch_size": [8, 4]} if name == "half" else {"optimization.weight_decay": [0.15, 0.2]}
        )
        documents[name] = {"name": name, "base": over, "grid": dimension}
    for name, document in documents.items():
        Path(place.file(name)).write_text(json.dumps(document))
    calls = [
        lambda: place.start(tuple(MAKE)),
        lambda: place.start(("run", place.file("done"), "--local")),
        lambda: ForkedCommand(lambda: interrupted_run(place.file("stopped")), place.environment),
    ]
    if "report --out" in names:
        calls.append(lambda: place.start(("sweep", place.file("finished"), "--local")))
        calls.append(lambda: ForkedCommand(lambda: interrupted_sweep(place.file("half")), place.environment))
    for call in calls:
        ended = call().wait(LIMIT_SECONDS)
        if ended.code:
            raise RuntimeError(ended.output[-3000:])
    place.keep()


def interrupted_run(file: str) -> None:
    """A run that is stopped after its first epoch."""
    from side4video.core.progress import MessageProgress
    from side4video.runs.launch import launch
    from side4video.spec.load import load_experiment

    spec = load_experiment(file, ())
    try:
        launch({spec.name: spec}, progress=MessageProgress(_stop_after(1)))
    except KeyboardInterrupt:
        return
    raise RuntimeError("it was not stopped")


def interrupted_sweep(file: str) -> None:
    """A sweep of two packs that is stopped when the first one is done and the second has trained an epoch."""
    from side4video.core.progress import MessageProgress
    from side4video.runs.sweep import hold_sweep, prepare_sweep, run_sweep
    from side4video.spec.arm import load_sweep

    sweep = load_sweep(file, ())
    progress = MessageProgress(_stop_after(3))
    try:
        with hold_sweep(sweep):
            run_sweep(prepare_sweep(sweep, progress=progress), progress=progress)
    except KeyboardInterrupt:
        return
    raise RuntimeError("it was not stopped")


def _stop_after(evaluations: int) -> Any:
    seen: list[Any] = []

    def look(message: dict[str, Any]) -> None:
        if message["phase"] == "evaluated":
            seen.append(message)
            if len(seen) == evaluations:
                raise KeyboardInterrupt

    return look


@dataclass(frozen=True)
class Alone:
    """What a command does alone."""

    ended: Ended
    record: dict[str, Any]


class Study:
    """Calls pairs and compares what they leave with what their commands leave alone."""

    def __init__(self, place: Place) -> None:
        """`place` is prepared."""
        self.place = place
        place.set_back(with_data=True)
        self.before = place.record()
        self.alone = cache(self._alone)

    def _alone(self, arguments: tuple[str, ...]) -> Alone:
        self.place.set_back(with_data=True)
        ended = self.place.start(arguments).wait(LIMIT_SECONDS)
        if ended.code not in (0, 2) or ended.has_traceback:
            raise RuntimeError(f"{arguments} fails alone: {ended.output[-3000:]}")
        return Alone(ended, self.place.record())

    def of(self, pair: Pair, times: int) -> dict[str, Any]:
        """Call a pair so many times."""
        began, rows = time.monotonic(), []
        for number in range(times):
            swapped = number % 2 == 1 and pair.one != pair.other
            row = self._case(replace(pair, one=pair.other, other=pair.one) if swapped else pair, number)
            rows.append(row)
            print(pair.name, json.dumps(row)[:1500], flush=True)
        outcomes = Counter(row["outcome"] for row in rows)
        return {
            "pair": pair.name,
            "shares": pair.shares or "home",
            "cases": len(rows),
            "offsets_s": [row["offset_s"] for row in rows],
            "outcomes": dict(outcomes),
            "says": sorted({pair_faults.same_for_all(each, self.place.folder) for row in rows for each in row["says"]}),
            "faults": sum(len(row["faults"]) for row in rows),
            "rows_with_faults": [row for row in rows if row["faults"]],
            "seconds": round(time.monotonic() - began),
        }

    def _case(self, pair: Pair, number: int) -> dict[str, Any]:
        names = (pair.one, pair.other)
        words = [self.place.arguments(pair.one, pair.other), self.place.arguments(pair.other, pair.one)]
        alone = [self.alone(each) for each in words]
        offset = OFFSETS[number % len(OFFSETS)] * alone[0].ended.seconds
        self.place.set_back(with_data="data make" not in names)
        first = self.place.start(words[0])
        time.sleep(offset)
        second = self.place.start(words[1])
        ended = wait_for_all([first, second], LIMIT_SECONDS)
        faults = [
            f"{name}: {fault}"
            for name, each, other in zip(names, ended, reversed(ended), strict=True)
            for fault in pair_faults.faults_of_call(each, other)
        ]
        if all(each.code for each in ended) and 0 in (each.ended.code for each in alone):
            faults.append("neither ended well")
        faults += self._faults_of_place(pair, ended, alone)
        row: dict[str, Any] = {"first": pair.one, "offset_s": round(offset, 2), "codes": [each.code for each in ended]}
        row |= {"says": [each.sentence for each in ended if each.sentence], "outcome": pair_faults.outcome(ended)}
        row |= {"seconds": [round(each.seconds, 1) for each in ended], "faults": faults}
        if faults:
            row["output"] = [pair_faults.same_for_all(each.output[-2500:], self.place.folder) for each in ended]
        return row

    def _faults_of_place(self, pair: Pair, ended: list[Ended], alone: list[Alone]) -> list[str]:
        """What is there and should not be, or is not there and should be."""
        won = [
            (name, each)
            for name, call, each in zip((pair.one, pair.other), ended, alone, strict=True)
            if call.code == 0
        ]
        found = self.place.record()
        faults = [f"left: {each}" for each in sorted(found["left"] - self.before["left"])]
        runs = {**self.before["runs"]}
        calls = zip(ended, alone, strict=True)
        for each in (each for call, each in calls if not call.code and NOTHING not in call.output):
            runs |= {key: run for key, run in each.record["runs"].items() if run != self.before["runs"].get(key)}
        is_changed = pair.shares == "experiment"  # an arm's result may be copied from the run
        faults += home_record.differences(
            *((pair_faults.slim(each) if is_changed else each) for each in (runs, found["runs"]))
        )
        doubled = [(key, run["doubled"]) for key, each in found["runs"].items() for run in each if run["doubled"]]
        faults += [f"doubled: {key}: {steps[:3]}" for key, steps in doubled]
        if found["data"] and found["data"] != self.before["data"]:
            faults += home_record.differences(self.before["data"], found["data"], "data set")
        registered = sum(name == "register" for name, _ in won)
        faults += pair_faults.faults_of_models(found["models"], registered)
        return faults + self._faults_of_folder(pair, won, found["out"])

    def _faults_of_folder(self, pair: Pair, won: list[tuple[str, Alone]], found: dict[str, str]) -> list[str]:
        folder = self.place.folder / "out"
        faults = [f"torn: {each}" for each in damaged(folder)] if folder.is_dir() else []
        for name, each in won:
            if name == "export":
                faults += pair_faults.faults_of_export(folder, self.place.home)
            elif name == "data pack":
                faults += pair_faults.faults_of_pack(folder)
            if name not in FOLDER_WRITERS or each.ended.code:
                continue
            there = {file: found.get(file) for file in each.record["out"]}
            if name == "report --out" and "sweep" in (pair.one, pair.other):
                faults += [f"{file} is missing" for file, content in there.items() if content is None]
            elif there != each.record["out"]:
                faults += home_record.differences(each.record["out"], there, name)
        known = {file for _, each in won for file in each.record["out"]}
        known |= {file for name, _ in won if name == "export" for file in found}
        return faults + [f"out has {file}" for file in found.keys() - known]


def write_record(studies: list[dict[str, Any]], options: str) -> Path:
    """Replace the studies of these pairs in the stored result."""
    import bench

    file = RESULTS / "two-at-once.json"
    before = json.loads(file.read_text())["pairs"] if file.exists() else []
    by_name = {each["pair"]: each for each in (*before, *studies)}
    names = [Pair(one, other).name for one, other in combinations_with_replacement(WRITERS, 2)]
    pairs = [by_name[name] for name in names if name in by_name]
    record = {
        "what": "pairs of commands at once on one target: how they end, and what differs from each alone",
        "command": f"python benchmarks/two_at_once.py {options} --json",
        "cases": sum(each["cases"] for each in pairs),
        "faults": sum(each["faults"] for each in pairs),
        "seconds": sum(each["seconds"] for each in pairs),
        "pairs": pairs,
    }
    return bench.save(file.stem, record)


def main() -> None:
    """Call all pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10, help="Calls of a pair that shares more than the home.")
    parser.add_argument("--others", type=int, default=2, help="Calls of every other pair.")
    parser.add_argument("--only", action="append", default=[], metavar="ONE+OTHER", help="A pair; can be repeated.")
    parser.add_argument(
        "--json",
        action="store_true",
        help="Also write benchmarks/results/two-at-once.json; the rows of other pairs stay.",
    )
    options = parser.parse_args()
    import_everything()
    chosen = [Pair(one, other) for one, other in combinations_with_replacement(WRITERS, 2)]
    if options.only:
        wanted = [{word.strip() for word in each.split("+")} for each in options.only]
        chosen = [pair for pair in chosen if {pair.one, pair.other} in wanted]
    folder = Path(tempfile.mkdtemp(prefix="two-at-once-"))
    try:
        place = Place(folder)
        prepare(place, {name for pair in chosen for name in (pair.one, pair.other)})
        study = Study(place)
        studies = [study.of(pair, options.times if pair.shares else options.others) for pair in chosen]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for each in studies:
        print(json.dumps({key: value for key, value in each.items() if key not in ("says", "rows_with_faults")}))
    if options.json:
        print(write_record(studies, f"--times {options.times} --others {options.others}"))
    sys.exit(any(each["faults"] for each in studies))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    main()
