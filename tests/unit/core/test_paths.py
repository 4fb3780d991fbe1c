"""Paths in specs may name environment variables and the home folder."""

import pytest

from side4video.core.errors import InputError
from side4video.core.paths import expand


def test_variables_and_home_are_filled_in(monkeypatch):
    monkeypatch.setenv("CLIPS", "/data/clips")
    monkeypatch.setenv("HOME", "/home/someone")
    assert expand("${CLIPS}/a/${CLIPS}.csv") == "/data/clips/a//data/clips.csv"
    assert expand("~/weights.pt") == "/home/someone/weights.pt"
    assert expand("plain/path.pt") == "plain/path.pt"


def test_a_lone_dollar_is_part_of_a_name(monkeypatch):
    monkeypatch.setenv("CLIPS", "/data")
    assert expand("$CLIPS/cost$.csv") == "$CLIPS/cost$.csv"


def test_what_a_variable_holds_is_not_expanded_again(monkeypatch):
    monkeypatch.setenv("OUTER", "${INNER}")
    assert expand("${OUTER}/x") == "${INNER}/x"


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_or_empty_variable_is_named(monkeypatch, value):
    monkeypatch.delenv("CLIPS", raising=False)
    if value is not None:
        monkeypatch.setenv("CLIPS", value)
    with pytest.raises(InputError, match=r"^data\.path: the environment variable CLIPS .* fix: export CLIPS="):
        expand("${CLIPS}/a.csv", "data.path")


@pytest.mark.parametrize("path", ["${}/a", "${A-B}/a", "${A", "${1A}"])
def test_a_broken_variable_is_refused(path):
    with pytest.raises(InputError, match="broken variable"):
        expand(path)
