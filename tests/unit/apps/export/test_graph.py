"""The exported graph gives the model's scores for any number of clips; one that does not is never written."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import side4video
import toys
from side4video.apps.export import graph
from side4video.apps.export.command import export
from side4video.apps.export.graph import ABOUT, ScoresOfFrames, write_graph
from side4video.core.errors import InputError, Side4VideoError
from side4video.data.clip import Clip
from side4video.data.streams.reader import EvaluationKey, EvaluationReader
from side4video.models.networks.side_block import SideBlock
from tiny import tiny

long = pytest.mark.long
QUICK = [("side4video", "clip"), ("attentive", "clip"), ("linear", "eva-post-norm")]
REST = [
    *(
        ("side4video", "eva-rotary"),
        ("side4video", "eva-post-norm"),
        ("side4video-authors", "clip"),
        ("linear", "clip"),
        ("linear", "eva-rotary"),
    ),
    *(("attentive", "eva-post-norm"), ("attentive", "eva-rotary"), ("st-adapter", "clip"), ("full", "eva-rotary")),
    *(("lst", "clip"), ("evl", "clip"), ("dist", "clip"), ("aim", "clip")),
    *((method, "clip") for method in ("text4vis", "text4vis-frozen", "atm")),
    *((method, "clip") for method in ("uniformerv2", "uniformerv2-kinetics", "uniformerv2-frozen")),
]


def toy_model(method="side4video", family="clip", **spec):
    """What `write_graph` asks of a model, on a toy tower of its own."""
    student = toys.make_student("toy", toys.METHODS[method], family=family)
    tower = toys.new_tower("fp32", family)
    borrowed = getattr(student.module.network, "borrowed", None)
    if borrowed is not None:
        borrowed.tower = tower
    # The weights of a head begin so small that all scores would be alike.
    with torch.no_grad():
        student.module.head[1].weight.mul_(20)
    student.module.eval()
    document = tiny(data={"frames": toys.FRAMES, "size": toys.SIZE}, backbone={"image_size": toys.SIZE}, **spec)
    return SimpleNamespace(tower=tower, student=student, spec=document, classes=toys.CLASSES, heads={})


@torch.no_grad()
def scores_of(model, video):
    return ScoresOfFrames(model).eval()(video)


@pytest.mark.parametrize(("method", "family"), [*QUICK, *(pytest.param(*case, marks=long) for case in REST)])
def test_the_graph_gives_the_models_scores_for_any_number_of_clips(method, family, tmp_path):
    model = toy_model(method, family)
    videos = [toys.make_batch(clips, size=clips).video_BTCHW for clips in (1, 3, 7)]
    expected = [scores_of(model, video) for video in videos]
    check = write_graph(model, tmp_path / "graph.pt2")
    about = {ABOUT: ""}
    program = torch.export.load(tmp_path / "graph.pt2", extra_files=about).module()
    for video, scores in zip(videos, expected, strict=True):
        found = program(video)
        assert found.shape == (len(video), len(toys.CLASSES))
        assert torch.equal(found, scores) if check.bit_equal else (found - scores).abs().max() < 1e-6
    assert max(scores.std() for scores in expected) > 1e-3
    assert check.graph_error <= check.allowed < 1e-5
    assert check.difference <= check.model_error + check.graph_error
    assert json.loads(about[ABOUT])["classes"] == list(toys.CLASSES)


def test_a_graph_that_computes_something_else_is_refused_and_not_left_there(tmp_path, monkeypatch):
    """The broken twin: the graph is traced with the [CLS] shift of one block off."""
    export_rightly = graph._export

    def export_wrongly(scores, video, *, kind):
        block = next(module for module in scores.modules() if isinstance(module, SideBlock))
        block.shifted = None
        try:
            return export_rightly(scores, video, kind=kind)
        finally:
            block.shifted = "class"

    monkeypatch.setattr(graph, "_export", export_wrongly)
    with pytest.raises(Side4VideoError, match="the exported graph is refused: its scores differ from float64"):
        write_graph(toy_model(), tmp_path / "graph.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_traced_is_said_in_one_line(tmp_path, monkeypatch):
    model = toy_model("linear")
    network = model.student.module.network

    def forward(features):
        mean = features.pooled_BTD.mean(dim=1)
        return mean if float(mean.sum()) > 0 else -mean

    monkeypatch.setattr(network, "forward", forward)
    with pytest.raises(
        InputError, match=r"--graph: side4video on this tower cannot be exported: .* fix: export without"
    ):
        write_graph(model, tmp_path / "graph.pt2")
    with pytest.raises(InputError, match=r"evaluation\.precision: bf16, and --graph"):
        write_graph(toy_model("linear", evaluation={"precision": "bf16"}), tmp_path / "graph.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_graph_that_runs_without_this_package(run, tmp_path):
    folder = tmp_path / "model"
    done = CliRunner().invoke(export, [run.run_id, str(folder), "--graph"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "graph.pt2: its scores" in done.stdout
    bundle = json.loads((folder / "bundle.json").read_text())
    assert {"graph.pt2", "backbone.safetensors"} <= set(bundle["checksums"])
    card = (folder / "README.md").read_text()
    assert bundle["graph"] in card
    assert "torch.zeros(1, 4, 3, 32, 32" in card
    model, video = side4video.load(folder), tiny().data.dataset.clips("test")[3].path
    reader = EvaluationReader(model.spec.data, [Clip(video, label=None)])
    np.save(tmp_path / "frames.npy", reader.read([EvaluationKey(0, view) for view in range(2)]).video_BTCHW.numpy())
    code = (
        "import sys, json, numpy as np, torch\n"
        "graph = torch.export.load(sys.argv[1]).module()\n"
        "scores = graph(torch.from_numpy(np.load(sys.argv[2])))\n"
        "assert 'side4video' not in sys.modules\n"
        "print(json.dumps(scores.double().mean(0).tolist()))\n"
    )
    command = [sys.executable, "-c", code, str(folder / "graph.pt2"), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = dict(model.predict([video], top=99)[0].labels)
    assert np.allclose(json.loads(done.stdout), [expected[name] for name in model.classes], atol=1e-6)
    content = bytearray((folder / "graph.pt2").read_bytes())
    content[len(content) // 2] ^= 1
    Path(folder / "graph.pt2").write_bytes(content)
    with pytest.raises(InputError, match=r"graph.pt2: its SHA-256 is not"):
        side4video.load(folder)
