"""All measurements that need a GPU, in the order of their worth, within a time: for a machine that is lent for minutes.

    python benchmarks/gpu_day.py [--minutes 8] [--wheels FOLDER] [--only memory speed]
    python benchmarks/gpu_day.py --device cpu --quick    # rehearses all parts in about a minute

Needs torch for the device and the packages of `PACKAGES`; neither Ray nor MLflow nor a network. Packages that are
missing are installed from `--wheels` (`pip download -d FOLDER --no-deps PACKAGES...` fills it elsewhere) into a
temporary folder. Each part is a command of its own. After each one, benchmarks/results/gpu-day-DEVICE.json has its exit
code, its seconds and the end of its output, and gpu-day-DEVICE.txt is a page that says what passed: a day that is cut
off keeps what it had. A part that would begin after the time is over is left out; one that is longer than what is left
is ended, and keeps the rows that it has written.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = {
    "pydantic": "pydantic",
    "yaml": "pyyaml",
    "einops": "einops",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "safetensors": "safetensors",
    "psutil": "psutil",
    "numpy": "numpy",
    "pytest": "pytest",
    "pytest_timeout": "pytest-timeout",
    "click": "click",
    "rich": "rich",
    "fsspec": "fsspec",
}
"""Module and package. Those that these need are in the folder of wheels as well."""
TAIL = 4000
"""Characters of a part's output that are kept."""


@dataclass(frozen=True)
class Part:
    """One command."""

    name: str
    what: str
    words: Sequence[str]
    quick: Sequence[str] | None = None
    """Its words in a rehearsal, if they differ."""
    cuda_only: bool = False


@dataclass
class Outcome:
    """What became of a part."""

    name: str
    what: str
    command: str
    state: str
    """`passed`, `failed`, `cut off`, `no time left`, `needs a GPU`."""
    code: int | None = None
    seconds: float = 0.0
    records: Sequence[str] = ()
    """Files that it has written or changed."""
    tail: str = ""


PARTS = (
    Part("tests", "tests that need a GPU: steps, memory, packs", ("-m", "pytest", "-q", "tests/gpu"), cuda_only=True),
    Part(
        "memory",
        "memory planned beside measured, each row of Tables 2 and 9",
        ("benchmarks/memory.py", "--device", "{device}"),
        ("benchmarks/memory.py", "--device", "{device}", "--only", "Side4Video 6 x 192"),
    ),
    Part(
        "speed",
        "time of a step, efficiency of the side network, compiled and not",
        ("benchmarks/speed.py", "--device", "{device}", "--compile"),
        ("benchmarks/speed.py", "--device", "{device}", "--rounds", "1", "--quick", "--threads", "1"),
    ),
    Part(
        "packs",
        "packs of nine and of eighteen arms against arms one by one",
        ("benchmarks/sweep.py", "--device", "{device}", "--group", "both"),
        ("benchmarks/sweep.py", "--device", "{device}", "--smoke", "--threads", "1"),
    ),
    Part(
        "transfer",
        "frames from host memory to the device",
        ("benchmarks/transfer.py", "--device", "{device}"),
        ("benchmarks/transfer.py", "--device", "{device}", "--clips", "2", "--rounds", "2"),
    ),
    Part(
        "eight-bit",
        "rounding of tokens and weights to 8 bits",
        ("benchmarks/eight_bit.py", "--random", "--device", "{device}"),
        ("benchmarks/eight_bit.py", "--random", "--device", "{device}", "--clips", "2"),
    ),
)


def main() -> None:
    """Run the parts that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--quick", action="store_true", help="Small shapes: whether all parts work.")
    parser.add_argument("--wheels", type=Path, help="Folder of wheels for packages that are missing.")
    parser.add_argument("--only", nargs="+", default=[part.name for part in PARTS], choices=[p.name for p in PARTS])
    parser.add_argument("--out", type=Path, help="Folder of all that is written. Default: benchmarks/results.")
    options = parser.parse_args()
    out = (options.out or (RESULTS / "rehearsal" if options.quick else RESULTS)).resolve()
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        environment = environment_with(options.wheels, Path(folder)) | {"BENCHMARK_RESULTS": str(out)}
        device = name_of(options.device, environment)
        outcomes = []
        for part in (each for each in PARTS if each.name in options.only):
            outcomes.append(run_part(part, options.device, deadline, environment, is_quick=options.quick))
            write(out, device, outcomes, is_quick=options.quick)
            print(line_of(outcomes[-1]), flush=True)
    if any(each.state == "failed" for each in outcomes):
        sys.exit(1)


def environment_with(wheels: Path | None, folder: Path) -> dict[str, str]:
    """The environment of the parts: this project and, if packages are missing, those from the wheels."""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing and wheels is None:
        sys.exit(f"missing: {', '.join(missing)} · fix: --wheels FOLDER, filled by `pip download -d FOLDER ...`")
    if missing:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
        # Without what they need: a wheel of torch from elsewhere would replace that of the device.
        subprocess.run([*install, "--no-deps", "--target", str(folder), *_wheels_in(wheels or folder)], check=True)
    paths = [str(ROOT / "platform"), str(ROOT / "benchmarks"), str(ROOT / "tests" / "support"), str(folder)]
    paths += [each for each in [os.environ.get("PYTHONPATH", "")] if each]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}


def _wheels_in(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.glob("*.whl")) if not file.name.startswith(("torch-", "nvidia_"))]


def name_of(device: str, environment: dict[str, str]) -> str:
    """Part of the names of the files: the GPU's name, or `cpu`."""
    ask = "import sys, torch, bench; print(bench.device_name(torch.device(sys.argv[1])))"
    words = [sys.executable, "-c", ask, device]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"no device {device}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


def run_part(part: Part, device: str, deadline: float, environment: dict[str, str], *, is_quick: bool) -> Outcome:
    """Run a part, for as long as time is left."""
    words = [word.format(device=device) for word in (part.quick if is_quick and part.quick else part.words)]
    outcome = Outcome(part.name, part.what, f"python {' '.join(words)}", "no time left")
    if part.cuda_only and not device.startswith("cuda"):
        outcome.state = "needs a GPU"
        return outcome
    left = deadline - time.monotonic()
    if left <= 0:
        return outcome
    out = Path(environment["BENCHMARK_RESULTS"])
    began, before = time.monotonic(), _times(out)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            outcome.code = process.wait(left)
            outcome.state = "failed" if outcome.code else "passed"
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            outcome.state = "cut off"
        output.seek(0)
        outcome.tail = output.read()[-TAIL:]
    outcome.seconds = round(time.monotonic() - began, 1)
    outcome.records = sorted(name for name, changed in _times(out).items() if before.get(name) != changed)
    return outcome


def _times(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*.json")}


def write(folder: Path, device: str, outcomes: Sequence[Outcome], *, is_quick: bool) -> None:
    """The record and the page of the parts up to now."""
    name = f"gpu-day-{device}{'-quick' if is_quick else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"device": device, "is_quick": is_quick, "parts": [asdict(each) for each in outcomes]}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    lines = [f"GPU day on {device}{' (a rehearsal: small shapes)' if is_quick else ''}", ""]
    for each in outcomes:
        lines += [line_of(each), f"    {each.command}"]
        lines += [f"    wrote {', '.join(each.records)}"] if each.records else []
        shown = each.tail.strip().splitlines()[-(30 if each.state == "failed" else 12) :]
        lines += [f"    | {line}" for line in shown] + [""]
    (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def line_of(outcome: Outcome) -> str:
    """One line about a part."""
    took = f" in {outcome.seconds:.0f} s" if outcome.seconds else ""
    return f"{outcome.state:<12} {outcome.name:<10} {outcome.what}{took}"


if __name__ == "__main__":
    main()
