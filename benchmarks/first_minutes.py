"""The first minutes of a newcomer, in seconds: installing, the three demos, the tests, each in a fresh clone.

    python benchmarks/first_minutes.py --label after                        the last commit
    python benchmarks/first_minutes.py --label before --revision 2c9a96b    another one, on the same machine
    python benchmarks/first_minutes.py --label after --steps demo,demo-sweep

The results are in `results/first-minutes.json`, a section for each label. A demo is divided into its phases, by the
times at which it reports them on stderr. Nothing else should run on the machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import RESULTS

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("demo", "demo-sweep", "demo-retrieval", "test")
STEPS = ("install-pip", "install-uv", *TARGETS)
TITLES = ("demo", "sweep", "quickstart-sweep", "quickstart-retrieval-sweep")
"""What lines of progress begin with. An empty line follows the last one."""
REQUIREMENTS = ["-c", "constraints.txt", "-e", ".[dev]"]


def clone(revision: str, folder: Path) -> None:
    """A clone of this repository at a revision."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", revision], cwd=folder, check=True)


def install(folder: Path, installer: str) -> float:
    """Seconds to make `.venv` and to install into it. It stays, for the next step."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", "--clear", ".venv"], cwd=folder, check=True)
    if installer == "uv":
        command = ["uv", "pip", "install", "-q", "--python", ".venv/bin/python", "--compile-bytecode", *REQUIREMENTS]
    else:
        command = [".venv/bin/python", "-m", "pip", "install", "-qq", *REQUIREMENTS]
    subprocess.run(command, cwd=folder, check=True)
    (folder / ".venv/.installed").touch()
    return time.perf_counter() - started


def make(folder: Path, target: str, home: Path) -> tuple[float, dict[str, float], str]:
    """Run a target.

    Returns:
        Its seconds, those of its phases, and its last line.
    """
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(home)}
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "VIRTUAL_ENV"):
        environment.pop(name, None)
    started = time.perf_counter()
    process = subprocess.Popen(
        ["make", target], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    phases: dict[str, float] = {}
    phase, since, last = "starting Python", started, ""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        last = line.strip() or last
        if target != "test" and line.partition(": ")[0] not in TITLES:
            print(line, end="", flush=True)
        now, name = time.perf_counter(), phase_of(line)
        if name and name != phase:
            phases[phase] = phases.get(phase, 0.0) + now - since
            phase, since = name, now
    code = process.wait()
    total = time.perf_counter() - started
    phases[phase] = phases.get(phase, 0.0) + time.perf_counter() - since
    if code:
        raise SystemExit(f"make {target} ended with {code}: {last}")
    return total, phases, last


def phase_of(line: str) -> str:
    """The phase that a line of progress names; empty for other lines.

    Lines are such as `demo: training 80/750 · loss 1.2`.
    """
    title, _, rest = line.partition(": ")
    if title not in TITLES:
        return "ending" if not line.strip() else ""
    if rest.startswith(("epoch ", "done ")):
        return ""
    return rest.split(" · ")[0].rstrip("0123456789/ \n")


def measure(revision: str, steps: list[str]) -> dict[str, object]:
    """Seconds of each step of a revision."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as scratch:
        folder = Path(scratch) / "clone"
        clone(revision, folder)
        beside = ROOT.parent / "shared"
        if beside.is_dir():
            (Path(scratch) / "shared").symlink_to(beside)
        found["revision"] = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        if "install-pip" in steps:
            found["install_pip_s"] = round(install(folder, "pip"), 1)
        if "install-uv" in steps or "install-pip" not in steps:
            found["install_uv_s"] = round(install(folder, "uv"), 1)
        for target in [each for each in TARGETS if each in steps]:
            print(f"make {target} …", flush=True)
            home = Path(scratch) / f"home-{target}"
            total, phases, last = make(folder, target, home)
            shutil.rmtree(home, ignore_errors=True)
            found[f"make_{target}_s".replace("-", "_")] = round(total, 1)
            if target == "test":
                found["make_test_ended_with"] = last
            else:
                shown = {name: round(seconds, 1) for name, seconds in phases.items() if seconds >= 0.1}
                found[f"parts_of_{target}_s".replace("-", "_")] = shown
    return found


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", default="after", help="Section of the record")
    parser.add_argument("--revision", default="HEAD")
    parser.add_argument("--steps", default=",".join(STEPS), help="Some of them, with commas between")
    options = parser.parse_args()
    steps = options.steps.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"no such step: {', '.join(unknown)}; allowed: {', '.join(STEPS)}")
    found = measure(options.revision, steps)
    record = RESULTS / "first-minutes.json"
    document = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    document["cores"] = os.cpu_count()
    document[options.label] = {**document.get(options.label, {}), **found}
    record.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document[options.label], indent=2))


if __name__ == "__main__":
    main()
