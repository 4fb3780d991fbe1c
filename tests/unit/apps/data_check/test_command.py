"""`side4video data check` from outside: exit codes, table, JSON, page."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from checked_sets import list_rows, make_clips, write_captions, write_list
from side4video.cli.data import data as data_group
from tiny import DOCUMENT, merged


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path):
    return make_clips(tmp_path / "clips")


def write(tmp_path, dataset=None):
    changes = {"data": {"dataset": {**dataset}}} if dataset else {}
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
    return str(file)


def checked(*arguments):
    return CliRunner().invoke(data_group, ["check", *map(str, arguments)])


def test_a_clean_set(tmp_path, home):
    page = tmp_path / "pages" / "data.html"
    done = checked(write(tmp_path), "--html", page)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == ["clean", f"written: {page}"]
    assert "motion · 10 classes" in done.stdout
    assert "decoding clips 40/40" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 40
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|http-equiv', "", text)
    assert len(list((home / "checks").iterdir())) == 1


def test_json_is_one_document_with_the_fingerprint_that_runs_carry(tmp_path, home, folder):
    dataset = write_list(folder, list_rows())
    (folder / "b.mp4").unlink()
    spec = write(tmp_path, dataset)
    done = checked(spec, "--json", "--all")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["clean"] is False
    assert {kind: len(found) for kind, found in answer["problems"].items() if found} == {"missing": 1}
    (missing,) = answer["problems"]["missing"]
    assert missing["path"] == str(folder / "b.mp4")
    assert missing["origin"].endswith("list.csv:3")
    assert answer["splits"]["train"] == {"records": 4, "files": 3, "bytes": answer["splits"]["train"]["bytes"]}
    from side4video.spec import load_experiment

    assert answer["fingerprint"] == load_experiment(spec).data.dataset.fingerprint()
    assert answer["work"] == {**answer["work"], "clips_decoded": 5, "clips_known": 0}
    again = json.loads(checked(spec, "--json", "--all").stdout)
    assert again["work"]["clips_decoded"] == 0
    assert {**again, "work": None} == {**answer, "work": None}


def test_a_set_that_would_stop_a_run_is_counted_all_the_same(tmp_path, home, folder):
    dataset = write_captions(folder)
    for name in ("a.mp4", "b.mp4", "e.mp4"):
        (folder / name).unlink()
    done = checked(write(tmp_path, dataset))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert "fingerprint  none: the data set would stop a run" in lines
    assert next(line for line in lines if line.startswith("missing ")).split() == ["missing", "2", "1"]
    assert len([line for line in lines if line.startswith("refused: ")]) == 2
    assert lines[-1] == "3 missing, 2 refused"


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"kind": "list", "annotations": "nowhere.csv"}, "nowhere.csv"),
        ({"kind": "list", "annotations": "${UNSET_VARIABLE}/a.csv"}, "UNSET_VARIABLE"),
        ({"kind": "lsit"}, "lsit"),
    ],
)
def test_a_mistake_in_the_spec_is_one_line(tmp_path, home, dataset, said):
    command = [sys.executable, "-m", "side4video", "data", "check", write(tmp_path, dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    *_, line = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert "Traceback" not in done.stderr


def test_a_page_that_cannot_be_written_is_said_before_the_work(tmp_path, home):
    done = checked(write(tmp_path), "--html", tmp_path)
    assert done.exit_code == 2 or done.exception.exit_code == 2
    assert not (home / "checks").exists()


def test_the_check_needs_no_torch(tmp_path, home):
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom side4video.cli.data import data\n"
        f"if __name__ == '__main__':\n    done = CliRunner().invoke(data, ['check', {write(tmp_path)!r}])\n"
        "    print(done.exit_code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", "False"], done.stderr
