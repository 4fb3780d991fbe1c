"""Tests find any Chromium or Chrome of the machine."""

from browsers import find_browser


def program(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_browser_is_found_by_variable_name_or_place(tmp_path, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser(["chrome"], [str(tmp_path / "other")]) is None
    other = program(tmp_path / "other")
    assert find_browser(["chrome"], [str(other)]) == other
    chrome = program(tmp_path / "chrome")
    assert find_browser(["chrome"], [str(other)]) == chrome
    named = program(tmp_path / "named")
    monkeypatch.setenv("CHROMIUM", str(named))
    assert find_browser(["chrome"], [str(other)]) == named
    named.chmod(0o644)  # it cannot be started
    assert find_browser(["chrome"], [str(other)]) == chrome
