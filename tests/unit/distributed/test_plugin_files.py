"""Plug-ins on machines that have neither the command's environment nor its files."""

from pathlib import Path

from plugin_files import SOURCE, write_plugin
from side4video.core.allowed_plugins import allowed_plugins
from side4video.distributed.plugin_files import PluginFiles
from side4video.plugins import allow_plugins
from tiny import tiny


def test_files_travel_with_their_content(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    file = write_plugin(tmp_path)
    allow_plugins(file, "lab.parts")
    spec = tiny(plugins=[str(file)], method={"kind": "max-probe"})
    sent = PluginFiles.current()
    # Another machine: without the environment, and another file in its place.
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    file.write_text(SOURCE + "# of that machine\n")
    sent.allow_here()
    modules, copy = allowed_plugins()
    assert modules == "lab.parts"
    assert Path(copy).read_text() == SOURCE
    assert Path(copy).name == file.name
    assert tiny(**spec.resolved()).digest() == spec.digest()


def test_a_file_that_is_there_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    file = write_plugin(tmp_path)
    allow_plugins(file)
    sent = PluginFiles.current()
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    sent.allow_here()
    assert allowed_plugins() == (str(file),)


def test_what_is_not_there_is_not_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", str(tmp_path / "none.py"))
    assert PluginFiles.current() == PluginFiles((), ())
