"""Small files that would cost gigabytes: what is said of each, in how many seconds and how much memory.

    python benchmarks/refused_files.py --json

Each file is read in a process of its own, whose imports are done before. The table is `results/refused-files.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
READ = """
import resource, sys, time
from pathlib import Path
from side4video.core.errors import InputError
kind, path = sys.argv[1:]
if kind == "document":
    from side4video.spec.load import load_experiment as read
elif kind == "weights":
    from side4video.models.towers.checkpoint import read_checkpoint
    read = lambda path: read_checkpoint(Path(path), where="backbone.weights.path")
elif kind == "classes":
    from side4video.data.annotations.class_names import read_class_names
    read = lambda path: read_class_names(Path(path), field="classes")
elif kind == "json":
    from side4video.data.annotations.json_files import read_json
    read = lambda path: read_json(Path(path))
elif kind == "shard":
    from side4video.data.datasets.webdataset import WebDatasetSpec
    read = lambda path: WebDatasetSpec(root=path).clips("train")
else:
    from side4video.spec.bundle import read_bundle
    read = lambda path: read_bundle(Path(path))
begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read(path)
    print("read")
except InputError as error:
    print(f"refused: {error}")
print(time.perf_counter() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def read(kind: str, path: Path) -> tuple[str, float, float]:
    """What came of reading a file in a process of its own, the seconds, and the MiB that it took."""
    done = subprocess.run([sys.executable, "-c", READ, kind, str(path)], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    *said, numbers = done.stdout.splitlines()
    seconds, mib = map(float, numbers.split())
    return " ".join(said), seconds, mib


def aliases(levels: int) -> str:
    """A document whose values each stand for nine of the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def sparse(path: Path, size: int) -> None:
    """A file of zeros that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)


def write_zip(path: Path, name: str, size: int) -> None:
    """A torch file with a compressed member."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"archive/{name}", "w", force_zip64=True) as member,
    ):
        for _ in range(size // 2**20):
            member.write(bytes(2**20))


def write_header(path: Path, names: int) -> None:
    """A safetensors file of empty tensors."""
    entries = {f"tensor.{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(names)}
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "aliases of nine levels": ("document", lambda path: path.write_text(aliases(9))),
    "aliases of thirty levels": ("document", lambda path: path.write_text(aliases(30))),
    "what holds itself": ("document", lambda path: path.write_text("a: &a [*a, *a]\nb: &b {c: *b}")),
    "brackets 10,000 deep": ("document", lambda path: path.write_text("name: " + "[" * 10_000 + "]" * 10_000)),
    "sections 300 deep": ("document", lambda path: path.write_text("name: " + "{a: " * 300 + "1" + "}" * 300)),
    "a document of 5 GiB": ("document", lambda path: sparse(path, 5 * 2**30)),
    "a name of 200 KiB": ("document", lambda path: path.write_text(f"name: {'x' * 200 * 2**10}")),
    "a key of 200 KiB": ("document", lambda path: path.write_text(f"{'x' * 200 * 2**10}: 1")),
    "a pickle that unpacks to 1 GiB": ("weights", lambda path: write_zip(path, "data.pkl", 2**30)),
    "a tensor that unpacks to 1 GiB": ("weights", lambda path: write_zip(path, "data/0", 2**30)),
    "a header of half a million names": ("weights", lambda path: write_header(path, 500_000)),
    "a header that claims 2 GiB": (
        "weights",
        lambda path: (sparse(path, 2**31 + 100), path.open("r+b").write((2**31).to_bytes(8, "little") + b'{"')),
    ),
    "a class of 10 MiB": ("classes", lambda path: path.write_text("jump\n" + "x" * 10 * 2**20)),
    "JSON 100,000 deep": ("json", lambda path: path.write_text("[" * 100_000)),
    "JSON objects 50,000 deep": ("json", lambda path: path.write_text('{"a":' * 50_000)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="Also write benchmarks/results/refused-files.json.")
    options = parser.parse_args()
    rows = []
    for what, (kind, write) in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            write(path)
            said, seconds, mib = read(kind, path)
            said = said.replace(str(path), "FILE")
            rows.append({"file": what, "seconds": round(seconds, 3), "mib": round(mib, 1), "said": said[:160]})
        print(json.dumps(rows[-1]))
    if options.json:
        record = {
            "what": "files that would cost gigabytes: seconds and memory until each is refused",
            "command": "python benchmarks/refused_files.py --json",
            "rows": rows,
        }
        (RESULTS / "refused-files.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
