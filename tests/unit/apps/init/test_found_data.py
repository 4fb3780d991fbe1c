"""Paths as `init` writes them: absolute, without `..`, dots and trailing slashes, and still the same place."""

from pathlib import Path

import pytest

from own_videos import class_folders
from side4video.apps.init.found_data import absolute_text, plain_path
from side4video.apps.init.source import find_data


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("work", "clips", "far/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("given", ["../clips", "../clips/", "./../work/../clips", "../clips/.", "..//clips"])
def test_a_path_is_plain(place, given):
    assert absolute_text(Path(given), given) == f"{place}/clips"


def test_a_link_stays_but_where_dots_lead_out_of_it(place):
    assert plain_path(Path("../link")) == place / "link"
    # The text alone would say `clips`, which is another folder than the system's, or none.
    (place / "far" / "clips").mkdir()
    assert plain_path(Path("../link/../clips")) == place / "far" / "clips"
    (place / "clips").rmdir()
    assert plain_path(Path("../link/../clips")) == place / "far" / "clips"


@pytest.mark.parametrize(("given", "written"), [("${CLIPS}/", "${CLIPS}"), ("~/clips/", "~/clips"), ("~", "~")])
def test_variables_and_the_home_folder_stay(given, written):
    assert absolute_text(Path("/anywhere"), given) == written


def test_a_source_in_any_spelling_gives_one_document(place):
    class_folders(place / "clips", {"jump": 2, "wave": 2}, content=b"")
    found = [find_data(text).dataset for text in ("../clips", "../clips/", "../work/../clips", str(place / "clips"))]
    assert found == [found[0]] * 4
    assert found[0]["root"] == f"{place}/clips"
