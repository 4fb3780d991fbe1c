"""Two commands at once on one target: one wins and the other says so, or both end with the same whole result."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from side4video.apps.data_pack.pack import verify
from side4video.core.progress import SILENT
from side4video.data.manifest import read_manifest
from side4video.spec.bundle import read_bundle
from tiny import DOCUMENT, merged

pytestmark = pytest.mark.slow

HELD = r"process \d+ on \S+ works on it since \d\d:\d\d:\d\d \(side4video .*\) · fix: wait until it is done"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a document, and a home with its finished run."""
    from side4video.runs.launch import launch
    from side4video.spec.load import load_experiment

    folder = tmp_path_factory.mktemp("place")
    (folder / "spec.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"name": "twice"})))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        launch({"twice": load_experiment(str(folder / "spec.yaml"))}, progress=SILENT)
    return folder


def at_once(place, *arguments):
    """Exit code, output and errors of two processes of one command."""
    command = [sys.executable, "-m", "side4video", *arguments]
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(place / "home")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=place, env=environment, **streams) for _ in range(2)]
    found = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    for _, errors, _ in found:
        assert "Traceback" not in errors, errors
    return [(code, output, errors.replace("\r", "\n").splitlines()) for output, errors, code in found]


def assert_one_wins(found, *, late):
    """One ends well; the other says who works on it, or `late` if it came too late for that."""
    codes = Counter(code for code, _, _ in found)
    assert codes in ({0: 1, 2: 1}, {0: 2} if late is None else {}), found
    for code, _, errors in found:
        if code == 2:
            assert re.search(f"{HELD}|{late}" if late else HELD, errors[-1]), errors


def contents_of(folder):
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_export(place):
    found = at_once(place, "export", "twice", "model", "--with-backbone")
    assert_one_wins(found, late="model: it is there already")
    read_bundle(place / "model")
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


def test_pack(place):
    """The second may also come when the first is done, and finds nothing left to do."""
    found = at_once(place, "data", "pack", "spec.yaml", "packed", "--files-per-shard", "10")
    assert_one_wins(found, late=None)
    assert verify(place / "packed", read_manifest(str(place / "packed")), SILENT) == []
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


def test_make(place):
    options = ("--train-clips", "60", "--test-clips", "20", "--frames", "6", "--size", "32", "--json")
    found = at_once(place, "data", "make", *options)
    assert [code for code, _, _ in found] == [0, 0]
    one, other = (json.loads(output) for _, output, _ in found)
    assert one["fingerprint"] == other["fingerprint"]
    names = {path.name for path in (place / "home" / "data").iterdir()}
    assert not {name for name in names if "partial" in name}


def test_check(place):
    found = at_once(place, "data", "check", "spec.yaml", "--html", "page.html")
    assert [code for code, _, _ in found] == [0, 0], found
    assert (place / "page.html").read_text().rstrip().endswith("</html>")
    assert not [path.name for path in place.iterdir() if path.name.startswith(".page")]


def test_report(place):
    found = at_once(place, "report", "table2", "--no-figures", "--out", "report")
    assert [code for code, _, _ in found] == [0, 0], found
    files = contents_of(place / "report")
    shutil.rmtree(place / "report")
    at_once(place, "report", "table2", "--no-figures", "--out", "report")
    assert sorted(files) == ["table2.csv", "table2.html", "table2.md", "table2.tex"]
    assert contents_of(place / "report") == files


def test_register(place):
    """Each is a version of its own."""
    found = at_once(place, "register", "twice", "--json")
    assert [code for code, _, _ in found] == [0, 0], found
    answers = [json.loads(output) for _, output, _ in found]
    assert sorted(answer["version"] for answer in answers) == ["1", "2"]
    assert answers[0]["model_id"] != answers[1]["model_id"]
