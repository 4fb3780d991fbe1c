"""A retrieval run as a folder: complete, it answers as the run does, wherever a model is asked for."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import side4video
from side4video.apps.export import search_table
from side4video.apps.export.command import export
from side4video.apps.export.register import register
from side4video.apps.search.command import search
from side4video.apps.serve.served_model import find_model
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.spec.bundle import BACKBONE, read_bundle
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

TEXT_SIDE = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
QUERY = "a red disc moves to the right"


def clip_file(path):
    """A file of a whole toy CLIP, in OpenAI's layout."""
    backbone = tiny(backbone={**TEXT_SIDE, "weights": {"kind": "random", "seed": 3}}).backbone
    text = backbone.build_text_tower()
    state = {f"visual.{name}": tensor for name, tensor in backbone.read_weights().tensors.items()}
    state |= {name: tensor.contiguous() for name, tensor in text.transformer.state_dict().items()}
    save_file(state | {"logit_scale": torch.tensor(2.6)}, path)
    return path


@pytest.fixture(scope="module", params=["side4video", "clip4clip"])
def exported(request, tmp_path_factory):
    """A run on weights of a file, its folder with the tower, and videos; the file is gone."""
    place = tmp_path_factory.mktemp("retrieval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        weights = clip_file(place / "clip.safetensors")
        method = {"kind": "side4video", "layers": 2, "dim": 64}
        matching = {"kind": "token-wise"} if request.param == "side4video" else {"kind": "mean"}
        spec = tiny(
            name="finds",
            backbone={**TEXT_SIDE, "weights": {"kind": "file", "path": str(weights)}},
            task={"kind": "retrieval", "words": 16, "matching": matching},
            method=method if request.param == "side4video" else {"kind": "clip4clip"},
            optimization={"length": {"epochs": 1}},
        )
        run_id = launch({"tiny": spec}, progress=SILENT)["tiny"].run_id
        (place / "videos").mkdir()
        for number, clip in enumerate(spec.data.dataset.clips("test")[:6]):
            shutil.copy2(clip.path, place / "videos" / f"{number}.mp4")
        before = side4video.load(run_id, task="retrieval").search(QUERY, place / "videos")
        done = CliRunner().invoke(export, [run_id, str(place / "model"), "--with-backbone"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        weights.rename(place / "kept")
        yield run_id, place, before, done.output, partial((place / "kept").rename, weights)


def test_the_folder_is_complete_and_finds_what_the_run_finds(exported):
    run_id, place, before, output, _ = exported
    assert "retrieval," in output
    assert f"ask it: side4video search {place / 'model'} TEXT FOLDER" in output
    model = side4video.load(place / "model", task="retrieval")
    assert model.search(QUERY, place / "videos") == before
    assert run_id[:8] in repr(model)
    assert len(before) == 6
    assert len({each.score for each in before}) > 1


def test_another_tower_is_noticed(exported, tmp_path, monkeypatch):
    """The broken twin: a tower whose values are not those of the run."""
    _, place, *_ = exported
    shutil.copytree(place / "model", tmp_path / "other")
    state = load_file(tmp_path / "other" / BACKBONE)
    save_file({name: tensor + 0.1 for name, tensor in state.items()}, tmp_path / "other" / BACKBONE)
    with pytest.raises(InputError, match=r"backbone\.safetensors: its SHA-256 is not"):
        side4video.load(tmp_path / "other", task="retrieval")


def test_search_takes_the_folder_and_keeps_its_index(exported, tmp_path):
    _, place, before, *_ = exported
    options = [str(place / "model"), QUERY, str(place / "videos"), "--json", "--index", str(tmp_path)]
    for _ in range(2):
        done = CliRunner().invoke(search, options, catch_exceptions=False)
        found = json.loads(done.stdout)
        assert [each["path"] for each in found] == [each.video for each in before]
        assert [each["score"] for each in found] == pytest.approx([each.score for each in before])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_serve_takes_the_folder(exported, tmp_path):
    _, place, before, *_ = exported
    served = find_model(str(place / "model"), "", tmp_path, device="cpu")
    assert (served.kind, served.classes) == ("search", ())
    predictor = served.build(limit_seconds=60, processes=1)
    try:
        assert [each.video for each in predictor.model.search(QUERY, place / "videos")] == [x.video for x in before]
    finally:
        predictor.close()


def test_register_logs_a_table_of_texts(exported, tmp_path):
    run_id, place, before, _, bring_back = exported
    refused = CliRunner().invoke(register, [run_id])
    assert isinstance(refused.exception, InputError)
    bring_back()
    done = CliRunner().invoke(register, [run_id, "--json"], catch_exceptions=False)
    (place / "clip.safetensors").rename(place / "kept")
    assert json.loads(done.stdout)["name"] == "finds"
    table = pd.DataFrame({"text": [QUERY, QUERY], "folder": [str(place / "videos")] * 2})
    answer = search_table._load_pyfunc(str(place / "model")).predict(table, {"top_k": 2})
    assert list(answer["video"]) == [each.video for each in before[:2]] * 2
    assert list(answer.columns) == list(search_table.COLUMNS)
    with pytest.raises(InputError, match="the table's columns: text · allowed: text, folder"):
        search_table.SearchTableModel(None).predict(table[["text"]])  # type: ignore[arg-type]


def test_the_card_is_of_retrieval(exported):
    _, place, *_ = exported
    card = (place / "model" / "README.md").read_text()
    assert 'side4video.load("this folder", task="retrieval")' in card
    assert "| `eval/t2v_r1` |" in card
    assert "classes" not in card.split("## What it measured")[0]
    assert read_bundle(place / "model")[0].classes == ()


def test_a_classifier_is_not_made_of_it(exported):
    run_id, place, *_ = exported
    for model in (place / "model", run_id):
        with pytest.raises(
            InputError, match=r'task: retrieval · allowed: recognition, multi-label, multi-head .* task="retrieval"'
        ):
            side4video.load(model)
    refused = CliRunner().invoke(export, [run_id, str(place / "graph"), "--graph"])
    assert "--graph: run" in str(refused.exception)
    with pytest.raises(InputError, match="task: 'other' · allowed: recognition, retrieval"):
        side4video.load(run_id, task="other")  # type: ignore[call-overload]


ASK = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = model.predict(pandas.DataFrame({"text": [sys.argv[2]], "folder": [sys.argv[3]]}), params={"top_k": 3})
print(json.dumps(table.to_dict("records")))
"""


@pytest.mark.slow
def test_mlflow_loads_what_was_registered(exported, tmp_path):
    run_id, place, before, _, bring_back = exported
    bring_back()
    done = CliRunner().invoke(register, [run_id, "--json", "--name", "searches"], catch_exceptions=False)
    (place / "clip.safetensors").rename(place / "kept")
    from mlflow import MlflowClient

    made, uri = json.loads(done.stdout), MLflowStore().uri
    found = MlflowClient(tracking_uri=uri, registry_uri=uri).get_model_version_download_uri("searches", made["version"])
    call = [sys.executable, "-c", ASK, found.removeprefix("file://"), QUERY, str(place / "videos")]
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(tmp_path), "PYTHONPATH": ""}
    asked = subprocess.run(call, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    assert asked.returncode == 0, asked.stderr[-2000:]
    rows = json.loads(asked.stdout.strip().splitlines()[-1])
    assert [row["video"] for row in rows] == [each.video for each in before[:3]]


def test_a_classifier_of_texts_needs_no_text_tower(tmp_path, monkeypatch):
    """The folder of a run with a classifier made of texts is complete, too: its features are among the weights."""
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    weights = clip_file(tmp_path / "clip.safetensors")
    spec = tiny(
        name="texts",
        backbone={**TEXT_SIDE, "weights": {"kind": "file", "path": str(weights)}},
        method={"kind": "zero-shot"},
        task={"kind": "recognition", "classifier": {"kind": "text", "prompt": "a video of {}"}},
        optimization={"length": {"epochs": 1}},
    )
    run_id = launch({"tiny": spec}, progress=SILENT)["tiny"].run_id
    video = spec.data.dataset.clips("test")[0].path
    before = side4video.load(run_id).predict(video)
    options = [run_id, str(tmp_path / "model"), "--with-backbone", "--no-speed"]
    assert CliRunner().invoke(export, options, catch_exceptions=False).exit_code == 0
    weights.unlink()
    after = side4video.load(tmp_path / "model").predict(video)
    assert after.scores is not None
    assert list(after.scores) == list(before.scores)
    with pytest.raises(InputError, match="does not exist"):
        side4video.load(run_id)
