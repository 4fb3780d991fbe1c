"""A check of ten thousand files: memory does not grow with them, and Ctrl-C loses nothing that was hashed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from checked_sets import write_clip
from tiny import DOCUMENT, merged

FILES, FEW = 10_000, 1_000
BYTES = 20_000
"""Of each file: all of them together are many times the growth that is allowed."""
GROWTH_MIB = 40

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sends signals"),
]

RUN = """
import re, resource, sys
from pathlib import Path
from click.testing import CliRunner
from side4video.apps.data_check import probe
from side4video.apps.data_check import check as walk
from side4video.cli.data import data

if __name__ == "__main__":
    spec, is_hoarding = sys.argv[1], sys.argv[2] == "hoarding"
    if is_hoarding:  # the twin: a walk that keeps what it has read
        hoard, told = [], walk._with_progress
        def keeping(pool, job, items, progress, **options):
            for item, result in told(pool, job, items, progress, **options):
                if job is probe.hash_file:
                    hoard.append(open(item.path, "rb").read())
                yield item, result
        walk._with_progress = keeping
    done = CliRunner().invoke(data, ["check", spec, "--json"])
    assert done.exit_code in (0, 1), (done.output, done.exception)
    # ru_maxrss of this process would begin with the peak of the one that started it.
    own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    print(own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two lists of copies of four clips, no two files the same, all of one size: so each must be hashed."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(4):
        write_clip(folder / f"clip{seed}.mp4", seed)
    clips = [(folder / f"clip{seed}.mp4").read_bytes().ljust(BYTES, b"\0") for seed in range(4)]
    (folder / "clips").mkdir()
    for number in range(FILES):
        (folder / "clips" / f"{number:05d}.mp4").write_bytes(clips[number % 4] + number.to_bytes(8, "big"))
    yield {count: write_spec(folder, count) for count in (FEW, FILES)}
    shutil.rmtree(folder)  # 200 MB, which pytest would keep for three runs


def write_spec(folder, count):
    with (folder / f"list{count}.csv").open("w", newline="") as file:
        rows = ([f"clips/{n:05d}.mp4", f"class{n % 7}", "test" if n % 5 == 0 else "train"] for n in range(count))
        csv.writer(file).writerows([["path", "label", "split"], *rows])
    dataset = {"kind": "list", "annotations": str(folder / f"list{count}.csv")}
    file = folder / f"spec{count}.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, {"data": {"dataset": dataset}})))
    return file


def peak_mib(spec, home, how="plain"):
    """The peak of the process, and the highest of those that worked for it."""
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(home)}
    command = [sys.executable, "-c", RUN, str(spec), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    return [float(each) for each in done.stdout.split()]


def test_memory_does_not_grow_with_the_files(sets, tmp_path):
    few = peak_mib(sets[FEW], tmp_path / "few")
    many = peak_mib(sets[FILES], tmp_path / "many")
    growth = [after - before for before, after in zip(few, many, strict=True)]
    assert max(growth) < GROWTH_MIB, (few, many)


def test_a_walk_that_keeps_what_it_reads_is_noticed(sets, tmp_path):
    few = peak_mib(sets[FEW], tmp_path / "few", "hoarding")
    many = peak_mib(sets[FILES], tmp_path / "many", "hoarding")
    assert many[0] - few[0] > 3 * GROWTH_MIB


def test_an_interrupted_check_goes_on(sets, tmp_path):
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "side4video", "data", "check", str(sets[FILES]), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        for line in process.stderr:
            if line.startswith("hashing files"):
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert errors.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors, errors
    (kept,) = (tmp_path / "checks").iterdir()
    known = len(json.loads(kept.read_text())["files"])
    assert 0 < known < FILES
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["work"]["files_known"] == known
    assert answer["work"]["files_hashed"] == FILES - known
    assert answer["work"]["clips_decoded"] == 100
    again = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment).stdout)
    assert (again["work"]["files_hashed"], again["work"]["clips_decoded"]) == (0, 0)
