"""Tests of plug-ins begin with none allowed."""

import pytest

from plugin_files import write_plugin


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")


@pytest.fixture
def plugin(tmp_path):
    """The file of a plug-in."""
    return write_plugin(tmp_path / "mine")
