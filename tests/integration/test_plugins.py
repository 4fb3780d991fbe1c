"""Parts of a user, from a folder of their own: trained, packed, resumed, exported, loaded, on Ray; changed or gone."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import side4video
from plugin_files import SOURCE, write_plugin
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.distributed.trainer import launch_on_ray
from side4video.runs.launch import launch
from side4video.runs.stored_run import fetch_weights, find_finished
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged, tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def weights(run_id, folder):
    """The bytes of a run's weights."""
    return fetch_weights(MLflowStore(), find_finished(MLflowStore(), run_id, folder), folder, "last").read_bytes()


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch):
    """The file, allowed."""
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file = write_plugin(tmp_path / "mine")
    side4video.allow_plugins(file)
    return file


def plugged_document(file):
    """A document with a part of each kind, trained for an epoch."""
    return plugged(file, optimization={"length": {"epochs": 1}}).resolved()


def plugged(file, **changes):
    clips = tiny().data.dataset.folder()
    tiny().data.dataset.prepare()
    parts = {
        "plugins": [str(file)],
        "method": {"kind": "max-probe", "hidden": 8},
        "data": {
            "dataset": {"kind": "named", "root": str(clips)},
            "augmentation": {"transforms": [{"kind": "noise"}], "flip_probability": 0},
            "loader": {"workers": 1},  # the transform is sent to a decoding process
        },
    }
    return tiny(**merged(parts, changes))


def test_a_run_is_recorded_exported_and_loaded(plugin, tmp_path, monkeypatch):
    spec = plugged(plugin)
    result = launch({"a": spec}, progress=SILENT)["a"]
    assert 0 <= result.metrics["eval/share_sure"] <= 1
    store = MLflowStore()
    run = store.get(result.run_id)
    assert json.loads(run.params["plugins"]) == [{"source": str(plugin), "sha256": spec.plugins[0].sha256}]
    video = spec.data.dataset.clips("test")[0].path
    expected = side4video.load(result.run_id).predict(video).scores
    assert len(expected) == 10
    exported = tmp_path / "exported"
    done = CliRunner().invoke(cli, ["export", result.run_id, str(exported)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (exported / "plugins" / "my_parts.py").read_text() == SOURCE
    plugin.unlink()
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    with pytest.raises(InputError, match=r"exported/plugins/my_parts\.py is not allowed here"):
        side4video.load(exported)
    side4video.allow_plugins(exported / "plugins" / "my_parts.py")
    np.testing.assert_array_equal(side4video.load(exported).predict(video).scores, expected)
    # One that was changed in the folder is seen by its checksum before it runs.
    (exported / "plugins" / "my_parts.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="was changed"):
        side4video.load(exported)


def test_a_run_whose_plugin_changed_or_is_gone(plugin, tmp_path):
    spec = plugged(plugin, name="changing")
    run = launch({"a": spec}, progress=SILENT)["a"].run_id
    plugin.write_text(SOURCE + "# changed\n")
    store = MLflowStore()
    with pytest.raises(InputError, match=f"run {run[:8]}: plugins.0: .*was changed"):
        find_finished(store, run, tmp_path)
    changed = plugged(plugin, name="changing")
    with pytest.raises(InputError, match=rf"my_parts\.py was changed since run {run[:8]} began"):
        launch({"a": changed}, progress=SILENT, resume=True)
    plugin.unlink()
    with pytest.raises(InputError, match=r"my_parts\.py: no such file"):
        find_finished(store, run, tmp_path)


def test_packed_equals_alone(plugin, tmp_path):
    def both():
        return plugged(plugin, name="mine"), plugged(plugin, name="probe", method={"kind": "linear"})

    mine, probe = both()
    packed = launch({"mine": mine, "probe": probe}, progress=SILENT)
    alone = launch({"mine": plugged(plugin, name="alone")}, progress=SILENT)
    first = weights(packed["mine"].run_id, tmp_path / "packed")
    assert first == weights(alone["mine"].run_id, tmp_path / "alone")


def test_a_stopped_run_goes_on_to_the_same_end(plugin, tmp_path):
    def interrupt(message):
        if message["phase"] == "evaluated":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch({"a": plugged(plugin)}, progress=MessageProgress(interrupt))
    resumed = launch({"a": plugged(plugin)}, progress=SILENT, resume=True)["a"]
    undisturbed = launch({"a": plugged(plugin, name="undisturbed")}, progress=SILENT)["a"]
    assert resumed.run_id != undisturbed.run_id
    first = weights(resumed.run_id, tmp_path / "resumed")
    assert first == weights(undisturbed.run_id, tmp_path / "undisturbed")


def test_the_transform_changes_what_is_trained(plugin, tmp_path):
    """The twin: without it other weights come out, so it was applied."""
    runs = {
        name: launch({name: plugged(plugin, name=name, data=data)}, progress=SILENT)[name]
        for name, data in (("noisy", {}), ("plain", {"augmentation": {"transforms": []}}))
    }
    states = {name: weights(run.run_id, tmp_path / name) for name, run in runs.items()}
    assert states["noisy"] != states["plain"]


def test_features_in_a_cache_know_the_source(plugin, tmp_path):
    def folders():
        return {path.name for path in (tmp_path / "features").rglob("*") if path.is_dir()}

    cached = {"kind": "cached", "folder": str(tmp_path / "features"), "views": 1}
    launch({"a": plugged(plugin, features=cached)}, progress=SILENT)
    before = folders()
    launch({"b": plugged(plugin, name="b", features=cached)}, progress=SILENT)
    assert folders() == before
    plugin.write_text(SOURCE.replace("-self.strength", "-self.strength // 2"))
    launch({"c": plugged(plugin, name="c", features=cached)}, progress=SILENT)
    assert folders() > before


def test_on_ray(cluster, plugin, tmp_path, monkeypatch):
    """Workers have neither the environment of the command nor, here, its file."""
    document = plugged(plugin, name="on-ray", optimization={"length": {"epochs": 1}}).resolved()
    local = launch({"a": tiny(**merged(document, {"name": "local"}))}, progress=SILENT)["a"]
    assert cluster is not None
    on_ray = launch_on_ray({"a": tiny(**document)}, progress=SILENT)["a"]
    first = weights(on_ray.run_id, tmp_path / "ray")
    assert first == weights(local.run_id, tmp_path / "local")


def test_a_job_takes_the_file_with_it(plugin, tmp_path, monkeypatch):
    from side4video.apps.jobs.request import read_request

    monkeypatch.chdir(plugin.parent)
    document = merged(DOCUMENT, {"plugins": ["my_parts.py"], "method": {"kind": "max-probe"}})
    Path("a.yaml").write_text(yaml.safe_dump(document))
    request = read_request("a.yaml")
    assert request.files.sources["my_parts.py"] == plugin
    assert list(request.words)[-2:] == ["--plugin", "my_parts.py"]


def test_a_metric_of_retrieval(plugin):
    text = {"text": {"kind": "transformer", "width": 32, "layers": 1, "head_width": 8}, "output_dim": 32}
    spec = tiny(
        plugins=[str(plugin)],
        task={"kind": "retrieval"},
        backbone=text,
        method={"kind": "side4video", "preset": "authors", "layers": 2, "dim": 64},
    )
    metrics = launch({"a": spec}, progress=SILENT)["a"].metrics
    assert 1 <= metrics["eval/worst_rank"] <= 20
    assert "eval/share_sure" not in metrics


def test_what_is_printed_after_a_run(plugin, tmp_path, monkeypatch):
    """The plug-in's metric is in the table, and the commands that follow allow the plug-in again."""
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(plugged_document(plugin)))
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    done = CliRunner().invoke(cli, ["run", str(file), "--local", "--plugin", str(plugin)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "sure answers" in done.output
    assert f"VIDEO --plugin {plugin}" in done.output
