"""Videos for a text: a retrieval run finds among its own test clips what its evaluation found, and decodes once."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from side4video.apps.search.command import search as search_command
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.data.decode import clip_frames
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

TEXT_SIDE = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
MATCHINGS = {"mean": {"kind": "mean"}, "token-wise": {"kind": "token-wise"}}


def quiet(message):
    pass


def retrieval(matching):
    task = {"kind": "retrieval", "words": 16, "matching": matching}
    return tiny(backbone=TEXT_SIDE, task=task, optimization={"length": {"epochs": 3}})


@pytest.fixture(scope="module", params=MATCHINGS)
def finished(request):
    spec = retrieval(MATCHINGS[request.param])
    return spec, launch({"tiny": spec}, progress=SILENT)["tiny"].run_id


@pytest.fixture
def folder(finished, tmp_path):
    """The test clips, some in a folder of their own, and what is no video."""
    spec, _ = finished
    place = tmp_path / "clips"
    (place / "deeper").mkdir(parents=True)
    for number, clip in enumerate(spec.data.dataset.clips("test")):
        shutil.copy2(clip.path, place / ("deeper" if number % 3 else "") / f"{number:03d}.MP4")
    (place / "notes.txt").write_text("no video")
    (place / "._000.mp4").write_bytes(b"what a file manager leaves")
    return place


@pytest.fixture
def decoded(monkeypatch):
    """The names of files that are decoded."""
    names = []
    original = clip_frames.decode_frames

    def counted(path, *arguments, **options):
        names.append(Path(path).name)
        return original(path, *arguments, **options)

    monkeypatch.setattr(clip_frames, "decode_frames", counted)
    return names


def searched(*arguments):
    done = CliRunner().invoke(search_command, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def found(*arguments):
    return json.loads(searched(*arguments, "--json").stdout)


def predictions(run_id, folder):
    file = MLflowStore().prepare().download(run_id, "predictions.csv", folder)
    return list(csv.DictReader(file.open(encoding="utf-8")))


def test_finds_what_the_evaluation_found_and_decodes_once(finished, folder, decoded, tmp_path):
    _, run_id = finished
    index = tmp_path / "index.safetensors"
    for row in predictions(run_id, tmp_path)[::7]:
        answer = found(run_id, row["caption"], folder, "--weights", "last", "--index", index, "--top", 100)
        order = [int(Path(each["path"]).stem) for each in answer]
        assert sorted(order) == list(range(20))
        assert order[0] == int(row["prediction"])
        assert order.index(int(row["label"])) + 1 == int(row["rank"])
        assert [each["rank"] for each in answer] == list(range(1, 21))
        scores = [each["score"] for each in answer]
        assert scores == sorted(scores, reverse=True)
        assert all(Path(each["path"]).is_file() for each in answer)
    assert len(decoded) == 20


def test_only_what_changed_is_decoded_again(finished, folder, decoded):
    _, run_id = finished
    searched(run_id, "a circle moves", folder)
    decoded.clear()
    shutil.copyfile(folder / "000.MP4", folder / "new.mp4")
    shutil.copyfile(folder / "003.MP4", folder / "006.MP4")
    (folder / "009.MP4").unlink()
    answer = found(run_id, "a circle moves", folder, "--top", 50)
    assert sorted(decoded) == ["006.MP4", "new.mp4"]
    scores = {Path(each["path"]).name: each["score"] for each in answer}
    assert len(scores) == 20
    assert "009.MP4" not in scores
    assert scores["new.mp4"] == pytest.approx(scores["000.MP4"], abs=1e-5)
    assert scores["006.MP4"] == pytest.approx(scores["003.MP4"], abs=1e-5)


def test_page_table_and_broken_videos(finished, folder, tmp_path):
    _, run_id = finished
    (folder / "broken.mkv").write_text("this is no video\n" * 20)
    page = tmp_path / "pages" / "found.html"
    done = searched(run_id[:10], "a <b>square</b> " * 20, folder, "--top", 3, "--html", page)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["rank", "score", "path", "duration"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert "longer than the 16 tokens" in done.stderr
    assert "skipped 1 video that could not be read" in done.stderr
    assert "broken.mkv: it is a text file" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 3 * 4
    assert text.count('class="closest"') == 3
    assert "http" not in text.replace("http-equiv", "")
    assert "<b>" not in text


def test_mistakes(finished, folder, tmp_path):
    _, run_id = finished
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    other = launch({"tiny": tiny(name="labels")}, progress=SILENT)["tiny"].run_id
    for arguments, message in (
        ((run_id, "  ", folder), "TEXT: is empty"),
        ((run_id, "&nbsp;", folder), "TEXT: no word"),
        ((run_id, "a dog", tmp_path / "nowhere"), "no such folder"),
        ((run_id, "a dog", folder / "000.MP4"), "is a file"),
        ((run_id, "a dog", tmp_path / "empty"), "no video in it"),
        (("nobody", "a dog", folder), "no run has this name or id"),
        ((other, "a dog", folder), "its task is recognition · allowed: retrieval"),
        ((run_id, "a dog", folder, "--html", tmp_path), "is a folder"),
        ((run_id, "a dog", folder, "--index", folder / "notes.txt"), "--index"),
        ((run_id, "a dog", folder, "--index", tmp_path / "model.safetensors"), "holds something else"),
    ):
        with pytest.raises(InputError, match=message):
            searched(*arguments)
    for clip in folder.rglob("*.MP4"):
        clip.write_bytes(b"")
    with pytest.raises(InputError, match=r"none of its 20 videos can be read; .*: the file is empty"):
        searched(run_id, "a dog", folder)
