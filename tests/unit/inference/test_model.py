"""An exported model says what the run said, bit for bit; a changed file is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import side4video
from side4video.apps.export.command import export
from side4video.cli.predict import predict
from side4video.core.csv_cells import csv_rows
from side4video.core.errors import InputError
from side4video.inference.given_videos import expand_videos
from side4video.spec.bundle import read_bundle, sealed
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny


@pytest.fixture(scope="module")
def recorded(run, tmp_path_factory):
    """The run's own scores of all test clips, and their paths."""
    folder = tmp_path_factory.mktemp("recorded")
    scores = np.load(MLflowStore().prepare().download(run.run_id, "scores.npz", folder))
    return scores["scores"], [clip.path for clip in tiny().data.dataset.clips("test")]


def exported(run, folder, *options):
    done = CliRunner().invoke(export, [run.run_id, str(folder), "--weights", "last", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def scores_of(model, videos):
    found = model.predict(videos, top=len(model.classes))
    return np.array([[dict(each.labels)[name] for name in model.classes] for each in found])


@pytest.mark.parametrize("options", [(), ("--with-backbone",)])
def test_the_same_scores_bit_for_bit(run, recorded, tmp_path, options):
    scores, videos = recorded
    model = side4video.load(exported(run, tmp_path / "model", *options))
    found = scores_of(model, videos)
    assert np.array_equal(found.astype(np.float32), scores)
    assert model.classes == tiny().data.dataset.classes()
    assert np.allclose(found.sum(1), 1)


def test_in_a_process_and_a_home_of_its_own(run, recorded, tmp_path):
    """Nothing of the run's machine is needed: not its store, not its data set's lists."""
    scores, videos = recorded
    folder = exported(run, tmp_path / "model", "--with-backbone")
    code = (
        "import json, sys, side4video\n"
        "model = side4video.load(sys.argv[1])\n"
        "print(json.dumps([dict(each.labels) for each in model.predict(sys.argv[2:], top=99)]))\n"
    )
    source = str(Path(side4video.__file__).parents[1])
    environment = {"PYTHONPATH": source, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment["SIDE4VIDEO_HOME"] = str(tmp_path / "other")
    command = [sys.executable, "-c", code, str(folder), *videos[:3]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    names = tiny().data.dataset.classes()
    found = np.array([[each[name] for name in names] for each in json.loads(done.stdout)], np.float32)
    assert np.array_equal(found.argmax(1), scores[:3].argmax(1))
    assert np.allclose(found, scores[:3], atol=1e-6)


@pytest.mark.parametrize("name", ["weights.safetensors", "backbone.safetensors", "spec.json", "README.md"])
def test_a_changed_file_is_refused_and_named(run, tmp_path, name):
    folder = exported(run, tmp_path / "model", "--with-backbone")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: its SHA-256 is not"):
        side4video.load(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: the file is missing"):
        side4video.load(folder)


def test_a_changed_description_is_refused(run, tmp_path):
    """Any byte of it: a figure that somebody mended, or a class that changed its name."""
    folder = exported(run, tmp_path / "model")
    whole = (folder / "bundle.json").read_bytes()
    for place in range(0, len(whole), len(whole) // 150):
        changed = bytearray(whole)
        changed[place] ^= 1
        if json_of(bytes(changed)) == json.loads(whole):
            continue  # white space
        (folder / "bundle.json").write_bytes(changed)
        with pytest.raises(InputError):
            read_bundle(folder)
    bundle = json.loads(whole)
    bundle["figures"]["eval/top1"] = 1.0
    (folder / "bundle.json").write_text(json.dumps(bundle))
    with pytest.raises(InputError, match=r"bundle\.json: its SHA-256 is not"):
        read_bundle(folder)
    (folder / "bundle.json").write_bytes(whole)
    read_bundle(folder)


def json_of(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_checksums_cannot_name_files_elsewhere(run, tmp_path):
    folder = exported(run, tmp_path / "model")
    bundle = json.loads((folder / "bundle.json").read_text())
    bundle["checksums"]["../elsewhere"] = "0"
    (folder / "bundle.json").write_text(json.dumps(bundle))
    with pytest.raises(InputError, match="its checksums are not those of a bundle"):
        side4video.load(folder)


def test_another_backbone_is_refused(run, tmp_path):
    folder = exported(run, tmp_path / "model")
    bundle = json.loads((folder / "bundle.json").read_text())
    bundle["backbone_sha256"] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(sealed(bundle)))
    with pytest.raises(InputError, match=r"the tower's fingerprint is .* fix: use the same weights"):
        side4video.load(folder)


def test_the_card_says_where_it_comes_from(run, tmp_path):
    card = (exported(run, tmp_path / "model") / "README.md").read_text()
    for word in ("# exported", run.run_id, "side4video.load", "| `eval/top1` |", "2 clips x 3 crops", "classes (10)"):
        assert word in card


def test_the_command_names_labels_and_what_cannot_be_read(run, recorded, tmp_path):
    _, videos = recorded
    (tmp_path / "broken.mp4").write_text("no video")
    arguments = [run.run_id[:8], videos[0], str(tmp_path / "broken.mp4"), "--top", "2", "--device", "cpu"]
    done = CliRunner().invoke(predict, [*arguments, "--json"])
    assert done.exit_code == 1
    first, broken = json.loads(done.stdout)
    assert len(first["labels"]) == 2
    assert first["labels"][0][1] >= first["labels"][1][1] > 0
    assert (broken["labels"], broken["error"]) == ([], "it is a text file, not a video")
    shown = CliRunner().invoke(predict, arguments)
    assert f"cannot be read: {tmp_path / 'broken.mp4'}: it is a text file, not a video" in shown.stderr
    assert "broken.mp4" not in shown.stdout  # errors stand apart from labels
    assert "%" in shown.stdout
    folder = exported(run, tmp_path / "model")
    done = CliRunner().invoke(predict, [str(folder), videos[0], "--device", "cpu"])
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(export, [run.run_id, str(folder)])
    assert isinstance(again.exception, InputError)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_folder_is_classified_into_a_file(run, recorded, tmp_path, ending):
    _, videos = recorded
    clips = tmp_path / "clips" / "inner"
    clips.mkdir(parents=True)
    for number, video in enumerate(videos[:2]):
        shutil.copy(video, clips / f"={number}.mp4")
    (clips / "broken.mp4").write_text("no video")
    out = tmp_path / f"found.{ending}"
    words = [run.run_id[:8], str(tmp_path / "clips"), "--out", str(out), "--top", "2", "--device", "cpu"]
    done = CliRunner().invoke(predict, words)
    assert done.exit_code == 1
    assert f"written: {out}: 3 videos, 1 of them cannot be read" in done.stdout
    rows = list(csv_rows(out.read_text())) if ending == "csv" else [json.loads(line) for line in out.open()]
    assert [Path(row["video"]).name for row in rows] == ["=0.mp4", "=1.mp4", "broken.mp4"]
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    expected = json.loads(CliRunner().invoke(predict, [*words[:2], "--json", "--top", "2", "--device", "cpu"]).stdout)
    for row, then in zip(rows[:2], expected, strict=False):
        labels = row["labels"] if ending == "jsonl" else [[row[f"label_{n}"], float(row[f"score_{n}"])] for n in (1, 2)]
        assert [label for label, _ in labels] == [label for label, _ in then["labels"]]
        assert [score for _, score in labels] == pytest.approx([score for _, score in then["labels"]], abs=1e-6)
        scores = row["scores"].values() if ending == "jsonl" else [v for k, v in row.items() if k.startswith("score ")]
        assert len(scores) == 10
        assert sum(map(float, scores)) == pytest.approx(1, abs=1e-4)


def test_many_videos_are_the_same_as_one_by_one(run, recorded, monkeypatch):
    _, videos = recorded
    words = [run.run_id[:8], *videos[:5], "--json", "--device", "cpu"]
    whole = CliRunner().invoke(predict, words).stdout
    monkeypatch.setattr("side4video.cli.predict.CHUNK", 2)
    assert json.loads(CliRunner().invoke(predict, words).stdout) == json.loads(whole)


def test_patterns_and_folders(tmp_path):
    for name in ("a/one.mp4", "a/b/two.mp4", "a/[3].mp4", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    a = str(tmp_path / "a")
    assert expand_videos([f"{a}/*.mp4"]) == [f"{a}/[3].mp4", f"{a}/one.mp4"]
    assert expand_videos([f"{a}/**/*.mp4"]) == [f"{a}/[3].mp4", f"{a}/b/two.mp4", f"{a}/one.mp4"]
    assert expand_videos([f"{a}/[3].mp4", f"{a}/gone.mp4"]) == [f"{a}/[3].mp4", f"{a}/gone.mp4"]
    assert (
        sorted(expand_videos([a, f"{a}/one.mp4"]))
        == sorted(expand_videos([a]))
        == sorted(f"{a}/{name}" for name in ("[3].mp4", "b/two.mp4", "one.mp4"))
    )
    with pytest.raises(InputError, match="no file fits this pattern"):
        expand_videos([f"{a}/*.avi"])


def test_another_ending_is_refused(run, recorded, tmp_path):
    refused = CliRunner().invoke(predict, [run.run_id[:8], recorded[1][0], "--out", str(tmp_path / "found.txt")])
    assert "--out: found.txt" in str(refused.exception)


def test_a_model_says_what_it_is(run, tmp_path):
    of_run = repr(side4video.load(run.run_id))
    of_folder = repr(side4video.load(exported(run, tmp_path / "model")))
    for text in (of_run, of_folder):
        assert f"run {run.run_id[:8]} (exported)" in text
        assert "weights of epoch 2, the last one" in text
        for part in ("side4video on vit", "10 classes", "4 frames of 32 x 32 pixels", "6 views", "on cpu"):
            assert part in text
