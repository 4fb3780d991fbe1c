"""Commands on a disk that is full after so many bytes: what they say, what they leave, whether they go on with room.

    sudo .venv/bin/python benchmarks/full_disk.py --json

Every command that writes is called on file systems in memory (tmpfs) of many sizes, from one page to more than it
needs. Then the file system grows, and the same command is called again. Mounting needs the rights of root, on Linux.
Each call is a process of its own, forked from one that has imported everything. The table is `results/full-disk.json`.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked_command import Ended, import_everything, start_command

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = 4096
ROOM = "256m"
LIMIT_SECONDS = 300.0
DOCUMENT: dict[str, Any] = {
    "name": "small",
    "backbone": {
        "kind": "vit",
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "head_width": 8,
        "weights": {"kind": "random", "seed": 0},
        "precision": "fp32",
    },
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {
        "dataset": {"kind": "motion", "train_clips": 20, "test_clips": 20, "frames": 8, "size": 32},
        "size": 32,
        "frames": 4,
        "decoder": "pyav",
        "loader": {"workers": 0},
    },
    "optimization": {"batch_size": 8, "length": {"epochs": 2}, "warmup": {"steps": 1}, "precision": "fp32"},
    "evaluation": {"batch_size": 6},
}
MAKE = ["data", "make", "--train-clips", "20", "--test-clips", "20", "--frames", "8", "--size", "32"]


@dataclass(frozen=True)
class Command:
    """A command that writes to the small disk."""

    name: str
    arguments: list[str]
    """`DISK` stands for the small disk."""
    environment: dict[str, str] = field(default_factory=dict)
    factor: float = 1.25
    """The largest size, in what the disk holds after the command with room."""


def call(command: Command, disk: Path, home: Path) -> Ended:
    """Call a command in a process of its own."""
    own = {key: value.replace("DISK", str(disk)) for key, value in command.environment.items()}
    arguments = [word.replace("DISK", str(disk)) for word in command.arguments]
    return start_command(arguments, {"SIDE4VIDEO_HOME": str(home), **own}).wait(LIMIT_SECONDS)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], object]]:
    """A file system of a size, and a function that gives it another."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield lambda other: subprocess.run(["mount", "-o", f"remount,size={other}", str(place)], check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def damaged(place: Path) -> list[str]:
    """Files under their final names that are cut short: every kind is read to its end."""
    return [
        path.relative_to(place).as_posix()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not is_partial(path, place) and not _is_whole(path)
    ]


def is_partial(path: Path, place: Path) -> bool:
    """Whether a file has no final name yet: it, or its folder, is hidden or says that it is partial."""
    return any(part.startswith(".") or part.endswith(".partial") for part in path.relative_to(place).parts)


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix == ".safetensors":
            from safetensors.torch import load

            load(content)
        elif path.suffix == ".mp4":
            import av

            with av.open(io.BytesIO(content), "r") as container:
                return sum(1 for _ in container.decode(video=0)) == container.streams.video[0].frames
        elif path.suffix == ".tar":
            import tarfile

            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                return bool(archive.getnames()) and content.endswith(bytes(1024))
        elif path.suffix in {".pt2", ".npz"}:
            import zipfile

            return zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        elif end := {".png": b"IEND\xaeB`\x82", ".html": b"</html>", ".pdf": b"%%EOF", ".svg": b"</svg>"}.get(
            path.suffix
        ):
            return content.rstrip(b"\n").endswith(end)
        elif path.suffix in {".csv", ".md", ".tex", ".jsonl", ".yaml"}:
            return content.endswith(b"\n")
    except Exception:
        return False
    return True


def used_bytes(place: Path) -> int:
    """What is taken of a file system."""
    size = os.statvfs(place)
    return (size.f_blocks - size.f_bfree) * size.f_frsize


def study(command: Command, disk: Path, home: Path, sizes: int) -> dict[str, Any]:
    """Call a command at so many sizes of the disk."""
    with small_disk(disk, ROOM):
        with_room = call(command, disk, home)
        needed, whole = used_bytes(disk), _files(disk)
        if with_room.code or damaged(disk):
            raise RuntimeError(f"{command.name} fails with room: {with_room.output[-3000:]} {damaged(disk)}")
    rows = []
    for number in range(1, sizes + 1):
        pages = max(1, round(number * command.factor * needed / sizes / PAGE))
        rows.append(measure(command, disk, home, pages * PAGE, whole))
        print(command.name, json.dumps(rows[-1])[:300], flush=True)
    return {"command": command.name, "needs": needed, "summary": summary(rows), "rows": rows}


def measure(command: Command, disk: Path, home: Path, size: int, whole: list[str]) -> dict[str, Any]:
    """Call a command on a disk of so many bytes, and again with room; `whole` are the names of its files then."""
    with small_disk(disk, str(size)) as resize:
        first = call(command, disk, home)
        row: dict[str, Any] = {"bytes": size, "code": first.code}
        row |= {"says": first.sentence.replace(str(disk), "DISK")[:200], "traceback": first.has_traceback}
        row |= {"damaged": damaged(disk), "left": _partials(disk)}
        if first.code not in (0, 2) or first.has_traceback:
            row["output"] = first.output[-1500:]
        if first.code == 0:
            return row | {"fits": True}
        resize(ROOM)
        again = call(command, disk, home)
        is_same = not damaged(disk) and _files(disk) == whole
        row |= {"one_sentence": bool(first.sentence) and not first.has_traceback}
        row |= {"again": again.code, "same_files": is_same}
        return row if not again.code and is_same else row | {"output_again": again.output[-1500:]}


def _files(disk: Path) -> list[str]:
    """Names of whole files; those that tell a run's id or time are left out."""
    named = {".db", ".db-wal", ".db-shm", ".lock"}
    found = (path for path in disk.rglob("*") if path.is_file() and path.suffix not in named)
    return sorted({path.name for path in found if not is_partial(path, disk)})


def _partials(disk: Path) -> list[str]:
    return sorted(
        path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file() and is_partial(path, disk)
    )[:5]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of what happened."""
    failed = [row for row in rows if row["code"] != 0]
    return {
        "sizes": len(rows),
        "fit": len(rows) - len(failed),
        "codes": dict(Counter(str(row["code"]) for row in rows)),
        "one_sentence": sum(row["one_sentence"] for row in failed),
        "tracebacks": sum(row["traceback"] for row in rows),
        "damaged": sum(bool(row["damaged"]) for row in rows),
        "goes_on": sum(row["again"] == 0 and row["same_files"] for row in failed),
    }


def prepare(folder: Path, home: Path, *, sweep: bool) -> dict[str, str]:
    """Files that the commands read: documents, a finished run, and a finished sweep if it is wanted."""
    documents = {"run": folder / "run.yaml", "sweep": folder / "sweep.yaml"}
    documents["run"].write_text(json.dumps(DOCUMENT))
    arms = {"name": "small-sweep", "base": DOCUMENT, "grid": {"method.layers": [1, 2]}}
    documents["sweep"].write_text(json.dumps(arms))
    calls = [MAKE, ["run", str(documents["run"]), "--local"], ["sweep", str(documents["sweep"]), "--local"]]
    for arguments in calls if sweep else calls[:2]:
        done = call(Command("prepare", arguments), folder, home)
        if done.code:
            raise RuntimeError(done.output[-3000:])
    return {name: str(path) for name, path in documents.items()}


def commands(documents: dict[str, str]) -> list[Command]:
    """All that are studied, with these documents (`prepare`)."""
    home, run, sweep = {"SIDE4VIDEO_HOME": "DISK"}, documents.get("run", ""), documents.get("sweep", "")
    pack = ["data", "pack", run, "DISK/packed", "--files-per-shard", "10"]
    return [
        Command("data make", MAKE, home),
        Command("data pack", pack, factor=2.2),
        Command("data check --html", ["data", "check", run, "--html", "DISK/page.html"], factor=2.2),
        Command("export", ["export", "small", "DISK/model", "--with-backbone"]),
        Command("export --graph", ["export", "small", "DISK/model", "--graph"], {"TMPDIR": "DISK"}, factor=2.5),
        Command("report sweep --out", ["report", "sweep", "small-sweep", "--out", "DISK/report"]),
        Command("figure curves", ["figure", "curves", "small", "--out", "DISK/figure"]),
        Command("run --local", ["run", run, "--local", "--go-on"], home),
        Command("sweep --local", ["sweep", sweep, "--local"], home),
    ]


def write_record(studies: list[dict[str, Any]]) -> None:
    """Replace the studies of these commands in the stored result."""
    file = RESULTS / "full-disk.json"
    before = json.loads(file.read_text())["studies"] if file.exists() else []
    by_name = {each["command"]: each for each in (*before, *studies)}
    for each in by_name.values():
        for row in each["rows"]:
            if row.get("one_sentence") and row["again"] == 0 and row["same_files"]:
                row.pop("output", None)  # it says no more than the sentence
    record = {
        "what": "commands on a disk that is full after so many bytes, and again with room",
        "command": "python benchmarks/full_disk.py --json",
        "studies": [by_name[each.name] for each in commands({}) if each.name in by_name],
    }
    file.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--json", action="store_true", help="Also write benchmarks/results/full-disk.json; other commands' rows stay."
    )
    parser.add_argument("--sizes", type=int, default=40, help="Sizes of the disk for each command.")
    parser.add_argument("--only", action="append", default=[], help="A command; can be repeated.")
    options = parser.parse_args()
    import_everything()
    folder = Path(tempfile.mkdtemp(prefix="full-disk-"))
    try:
        home = folder / "home"
        reports = not options.only or any(name.startswith("report") for name in options.only)
        documents = prepare(folder, home, sweep=reports)
        chosen = [each for each in commands(documents) if not options.only or each.name in options.only]
        studies = [study(each, folder / "disk", home, options.sizes) for each in chosen]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for each in studies:
        print(each["command"], json.dumps(each["summary"]))
    if options.json:
        write_record(studies)


if __name__ == "__main__":
    main()
