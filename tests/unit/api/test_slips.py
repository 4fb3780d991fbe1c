"""Slips in a call: what was found, what is allowed, and a fix, in place of Python's own words."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import side4video
from side4video.core.allowed_plugins import VARIABLE
from side4video.core.errors import InputError
from tiny import DOCUMENT, tiny

NOT_DOCUMENTS = (5, None, [], b"tiny.yaml", object())


def sentence(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    said = str(caught.value)
    assert " · allowed: " in said
    assert " · fix: " in said
    return said


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT))
    return path


@pytest.mark.parametrize("given", NOT_DOCUMENTS)
@pytest.mark.parametrize(
    "function", [side4video.load_experiment, side4video.run, side4video.plan, side4video.sweep], ids=lambda each: each
)
def test_what_is_no_document(function, given):
    said = sentence(function, given)
    assert said.startswith(("experiment: ", "sweep: "))
    assert ("None" if given is None else f"of the type {type(given).__name__}") in said


def test_a_checked_experiment_and_a_mapping_are_loaded(file):
    expected = side4video.load_experiment(file).digest()
    for given in (DOCUMENT, tiny(), str(file)):
        assert side4video.load_experiment(given).digest() == expected


@pytest.mark.parametrize("overrides", ["seed=3", {"seed": 3}, ["seed=3"], [{"seed": 3}], ({"seed": 3},)])
def test_changes_of_every_form(file, overrides):
    assert side4video.load_experiment(file, overrides).seed == 3
    assert side4video.load_experiment(tiny(), overrides).seed == 3


@pytest.mark.parametrize("overrides", [5, None, [5], [None], {5: 5}, object()])
def test_what_is_no_change(file, overrides):
    assert sentence(side4video.load_experiment, file, overrides).startswith("overrides: ")
    if not isinstance(overrides, list):
        assert sentence(side4video.run, file, overrides).startswith("overrides: ")


@pytest.mark.parametrize("progress", [5, None, "yes"])
def test_progress_that_receives_nothing(home, progress):
    said = sentence(side4video.run, DOCUMENT, progress=progress)
    assert said.startswith("progress: ")


def test_places_and_names(home):
    assert sentence(side4video.runs, uri=5).startswith("uri: a value of the type int")
    assert sentence(side4video.runs, name=5).startswith("name: a value of the type int")
    assert sentence(side4video.runs, limit="x").startswith("limit: 'x' · allowed: a whole number")
    assert sentence(side4video.run, DOCUMENT, local=False, address=None).startswith("address: None")
    document = {"name": "s", "base": DOCUMENT, "grid": {"seed": [0, 1]}}
    assert sentence(side4video.sweep, document, report=5).startswith("report: a value of the type int")
    for given in (5, None, b"x", "", " "):
        assert sentence(side4video.load, given).startswith("run_or_folder: ")


@pytest.mark.parametrize(
    "options",
    [
        {"classes": 0},
        {"classes": "x"},
        {"classes": True},
        {"sustained_teraflops": 0},
        {"disk_gigabytes_per_second": None},
    ],
)
def test_numbers_of_a_plan(options):
    assert sentence(side4video.plan, DOCUMENT, **options).startswith(f"{next(iter(options))}: ")


@pytest.fixture(scope="module")
def model(run):
    return side4video.load(run.run_id)


@pytest.mark.parametrize("videos", [None, 5, b"clip.mp4", {"a": 1}])
def test_what_is_no_video(model, videos):
    assert sentence(model.predict, videos).startswith("videos: ")


@pytest.mark.parametrize("top", ["a", 1.5, True, float("nan"), float("inf"), 0])
def test_top(model, top):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    assert sentence(model.predict, frames, top=top).startswith("top: ")
    assert sentence(model.stream, frames, top=top).startswith("top: ")


@pytest.mark.parametrize(
    "options", [{"every": 1.5}, {"every": None}, {"frames_per_second": "x"}, {"window_seconds": 1e300}]
)
def test_numbers_of_a_stream(model, options):
    assert sentence(model.stream, [], **options).startswith(f"{next(iter(options))}: ")


@pytest.mark.parametrize("source", [None, 1.5, True, {}, b"clip.mp4"])
def test_what_is_no_stream(model, source):
    assert sentence(model.stream, source).startswith("source: ")


def test_a_camera_that_changes_its_shape(model):
    frames = [np.zeros((48, 64, 3), np.uint8)] * 5 + [np.zeros((64, 48, 3), np.uint8)] * 50
    said = sentence(list, model.stream(frames, frames_per_second=10))
    assert "frame at 0.50 s: 64 x 48 pixels, of another shape" in said


def test_a_file_that_is_not_there(model):
    with pytest.raises(InputError, match=r"nowhere.mp4: it cannot be opened: there is no such file") as caught:
        list(model.stream("nowhere.mp4"))
    assert "broken_clips" not in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere.py", Path("no/where.py"), 5, None])
def test_plugins_that_are_not_there(monkeypatch, source):
    monkeypatch.setenv(VARIABLE, "")
    assert sentence(side4video.allow_plugins, source)
