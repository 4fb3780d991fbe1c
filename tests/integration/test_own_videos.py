"""From a folder, a list, captions or MSR-VTT's files to a run, with nothing edited by hand."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from huggingface_hub import constants

from caption_files import write as write_annotations
from own_videos import SMALL, SMALL_WITH_TEXT, class_folders, put, write_csv
from side4video.cli.main import main

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"
CLASSES = {"jump: high": 10, "it's a wave": 10, "-run": 10, "видео": 10}


def in_processes(folder, *arguments):
    """The exit code of a command, and what it prints, as a user calls it."""
    call = [sys.executable, "-m", "side4video", *map(str, arguments)]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout, done.stderr


def in_this_process(folder, *arguments):
    """The same without a process, which takes seconds to import everything."""
    printed, told = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(told):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["side4video", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, printed.getvalue(), told.getvalue()


def go(folder, source, settings=SMALL, *, counts, side4video=in_this_process):
    """`init`, `validate` and `plan`, in a folder that is not that of the videos; nothing is edited."""
    folder.mkdir()
    words = [word for setting in settings for word in ("--set", setting)]
    code, printed, told = side4video(folder, "init", source, "-o", "my.yaml", "--json", *words)
    assert code == 0, told
    document = json.loads(printed)
    assert document["clips"] == counts
    assert [path.name for path in folder.glob("*.yaml")] == ["my.yaml"]
    code, printed, told = side4video(folder, "validate", "my.yaml")
    assert code == 0, told
    assert f"{sum(counts.values())} clips" in printed
    code, printed, told = side4video(folder, "plan", "my.yaml", "--json")
    assert code == 0, told
    assert json.loads(printed)["reserved_memory_gib"] == pytest.approx(document["planned_memory_gib"])
    return document


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """No test asks the network for weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def videos(tmp_path):
    """Forty videos in one folder, named by number."""
    for number in range(40):
        put(tmp_path / "videos" / f"clip {number:02d}.mp4")
    return tmp_path / "videos"


def train(folder, monkeypatch):
    """The id of a run: `run --smoke`, `run` and its page, of the file that `init` wrote; nothing is edited."""
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(folder / "home"))
    short = ("--epochs", "1", "--set", "data.loader.workers=0")
    code, printed, told = in_this_process(folder, "run", "my.yaml", "--smoke", *short)
    assert code == 0, told
    assert "Nothing was recorded." in printed
    assert not (folder / "home" / "mlflow.db").exists()
    code, printed, told = in_this_process(folder, "run", "my.yaml", "--local", *short)
    assert code == 0, told
    page = Path(printed.partition("Its page, for a browser: ")[2].strip())
    assert "by chance" in page.read_text(encoding="utf-8")
    return printed.partition("\nRun ")[2][:8]


def predict(folder, run, video):
    """The labels that the model gives to a video."""
    code, printed, told = in_this_process(folder, "predict", run, video, "--json")
    assert code == 0, told
    (prediction,) = json.loads(printed)
    return {each["label"] if isinstance(each, dict) else each[0] for each in prediction["labels"]}


def search(folder, run, videos):
    """The videos that a retrieval model finds in a folder, best first."""
    code, printed, told = in_this_process(folder, "search", run, "somebody falls", videos, "--json", "--top", "3")
    assert code == 0, told
    return json.loads(printed)


def test_class_folders(tmp_path, monkeypatch):
    clips = class_folders(tmp_path / "my clips", CLASSES)
    go(tmp_path / "work", clips, counts={"train": 28, "val": 4, "test": 8}, side4video=in_processes)
    run = train(tmp_path / "work", monkeypatch)
    assert predict(tmp_path / "work", run, next(clips.glob("*/*.mp4"))) <= set(CLASSES)
    code, _, told = in_processes(tmp_path / "work", "init", clips, "-o", "my.yaml")
    assert code == 2
    assert told.splitlines()[-1].startswith("error: my.yaml: it exists")
    assert "Traceback" not in told


def test_the_usual_tower_as_a_newcomer_gets_it(tmp_path):
    """No setting: CLIP, whose weights are not needed before a run."""
    clips = class_folders(tmp_path / "my clips", CLASSES)
    document = go(tmp_path / "work", clips, (), counts={"train": 28, "val": 4, "test": 8})
    assert document["document"]["backbone"]["kind"] == "open-clip"


@pytest.mark.slow
def test_a_list(tmp_path, videos, monkeypatch):
    rows = [[path.name, list(CLASSES)[n % 4]] for n, path in enumerate(sorted(videos.iterdir()))]
    source = write_csv(videos / "labels.csv", [["video", "class"], *rows])
    go(tmp_path / "work", source, counts={"train": 28, "val": 4, "test": 8})
    run = train(tmp_path / "work", monkeypatch)
    assert predict(tmp_path / "work", run, next(videos.glob("*.mp4"))) <= set(CLASSES)


def test_a_list_with_a_split(tmp_path, videos):
    splits = ("train", "train", "val", "test")
    rows = [[path.name, str(n // 4 % 2), splits[n % 4]] for n, path in enumerate(sorted(videos.iterdir()))]
    source = write_csv(videos / "labels.csv", [["path", "label", "split"], *rows])
    go(tmp_path / "work", source, counts={"train": 20, "val": 10, "test": 10})


def test_labels_in_json(tmp_path, videos):
    objects = [{"file": path.name, "label": f"c{n % 4}"} for n, path in enumerate(sorted(videos.iterdir()))]
    (videos / "labels.json").write_text(json.dumps(objects))
    go(tmp_path / "work", videos, counts={"train": 28, "val": 4, "test": 8})


def test_captions(tmp_path, videos, monkeypatch):
    rows = [[path.name, f"someone does: thing {n}, 'slowly'"] for n, path in enumerate(sorted(videos.iterdir()))]
    write_csv(videos / "captions.csv", [["path", "caption"], *rows])
    go(tmp_path / "work", videos, SMALL_WITH_TEXT, counts={"train": 32, "test": 8})
    run = train(tmp_path / "work", monkeypatch)
    assert len(search(tmp_path / "work", run, videos)) == 3
    code, _, told = in_this_process(tmp_path / "work", "predict", run, next(videos.glob("*.mp4")))
    assert code == 2  # a retrieval run has no classes to predict
    assert "search" in told


@pytest.mark.slow
def test_msrvtt(tmp_path, monkeypatch):
    training = {f"video{n}": [f"a cat does {n}", f"cat number {n}"] for n in range(30)}
    test = {f"video{n}": [f"a dog does {n}"] for n in range(30, 40)}
    (tmp_path / "annotations").mkdir()
    write_annotations("msr-vtt", tmp_path / "annotations", training, test)
    for name in {**training, **test}:
        put(tmp_path / "videos" / f"{name}.mp4")
    source = tmp_path / "annotations" / "MSRVTT_data.json"
    document = go(tmp_path / "work", source, SMALL_WITH_TEXT, counts={"train": 30, "test": 10})
    assert document["document"]["data"]["dataset"]["kind"] == "msr-vtt"
    run = train(tmp_path / "work", monkeypatch)
    assert len(search(tmp_path / "work", run, tmp_path / "videos")) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "settings", "counts"),
    [
        ("fight_surv_256", SMALL, {"train": 202, "val": 40, "test": 58}),
        ("gmdcsa24_256", SMALL_WITH_TEXT, {"train": 19, "test": 4}),
    ],
)
def test_real_clips(tmp_path, name, settings, counts, monkeypatch):
    if not (REAL / name).is_dir():
        pytest.skip("the real clips are not here")
    go(tmp_path / "work", REAL / name, settings, counts=counts)
    run = train(tmp_path / "work", monkeypatch)
    if settings is SMALL:
        video = next(iter(sorted((REAL / name).rglob("*.mp4"))))
        assert 1 <= len(predict(tmp_path / "work", run, video)) <= 5
    else:
        assert len(search(tmp_path / "work", run, REAL / name)) == 3
