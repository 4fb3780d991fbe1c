"""Plug-ins in an exported folder: each is kept, and what is printed allows all of them."""

import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from plugin_files import SOURCE, write_plugin
from side4video.apps.export.card import model_card
from side4video.cli.main import cli
from side4video.core.allowed_plugins import allow_plugins
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.spec.bundle import Bundle, needed_plugins, plugin_names, read_bundle, write_bundle
from tiny import tiny

MODULE = SOURCE[: SOURCE.index("PLUGIN = Plugin(")] + "PLUGIN = Plugin(transforms=(Noise,))\n"
METRIC = (
    "from side4video.plugins import *\n"
    'PLUGIN = Plugin(recognition_metrics=(MetricSpec("mine", "mine", lambda found: 0.5),))\n'
)
METHOD = SOURCE[: SOURCE.index("PLUGIN = Plugin(")] + "PLUGIN = Plugin(methods=(MaxProbe,))\n"


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A document with two files of one name, and a module."""
    monkeypatch.syspath_prepend(tmp_path)
    write_plugin(tmp_path / "lab_export", MODULE, name="side.py")
    (tmp_path / "lab_export" / "__init__.py").write_text("")
    files = [write_plugin(tmp_path / name, text, name="parts.py") for name, text in (("a", METHOD), ("b", METRIC))]
    allow_plugins(*files, "lab_export.side")
    return tiny(plugins=[*map(str, files), "lab_export.side"], method={"kind": "max-probe"})


def write(spec, tmp_path, name):
    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    bundle = Bundle("m", ("a",), "0" * 64, {}, {})
    return write_bundle(tmp_path / name, bundle, spec, tmp_path / "w.safetensors", card="")


def test_two_files_of_one_name_are_kept(spec, tmp_path, monkeypatch):
    written = write(spec, tmp_path, "model")
    assert {name for name in written.checksums if "plugins" in name} == {"plugins/parts.py", "plugins/parts-2.py"}
    for place in ("a", "b"):
        shutil.rmtree(tmp_path / place)
    needed = needed_plugins(spec, tmp_path / "model")
    assert needed == [
        *(str(tmp_path / "model/plugins" / name) for name in ("parts.py", "parts-2.py")),
        "lab_export.side",
    ]
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    allow_plugins(*needed)
    _, again = read_bundle(tmp_path / "model")
    assert [each.sha256 for each in again.plugins] == [each.sha256 for each in spec.plugins]
    assert again.digest() == spec.digest()


def test_names_in_the_folder():
    sources = ["a/p.py", "lab.p", "b/p.py", "c/P.py", "p-2.py", "d/no_suffix"]
    names = ["plugins/p.py", "lab.p", "plugins/p-2.py", "plugins/P-3.py", "plugins/p-2-2.py", "plugins/no_suffix.py"]
    assert plugin_names(sources) == names


def test_the_card_allows_all(spec):
    card = model_card(Bundle("m", ("a",), "0" * 64, {}, {}), spec)
    allowed = '"this folder/plugins/parts.py", "this folder/plugins/parts-2.py", "lab_export.side"'
    assert f"side4video.allow_plugins({allowed})" in card


@pytest.mark.slow
def test_the_printed_command_works(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    short = tiny(plugins=[each.source for each in spec.plugins], method={"kind": "max-probe"}, name="short")
    run = launch({"a": short}, progress=SILENT)["a"]
    model = tmp_path / "model"
    done = CliRunner().invoke(cli, ["export", run.run_id, str(model), "--no-speed"], catch_exceptions=False)
    words = done.output.strip().splitlines()[-1].split()
    assert words[:4] == ["ask", "it:", "side4video", "predict"]
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    video = short.data.dataset.clips("test")[0].path
    asked = CliRunner().invoke(
        cli, [video if word == "VIDEO..." else word for word in words[3:]], catch_exceptions=False
    )
    assert asked.exit_code == 0, asked.output
