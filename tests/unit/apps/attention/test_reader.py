"""`side4video attention`: what is drawn is what the run's networks look at; every video is answered for."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from side4video.apps.attention.command import attention
from side4video.apps.attention.reader import AttentionMaps, AttentionReader, UnreadableVideo, load_attention
from side4video.apps.export.command import export
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.core.worker_pool import JobFailed
from side4video.inference.model import Model
from side4video.models.attention_maps import SideReading, tower_map
from side4video.models.frozen_features import features_of_batch
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

TEXTS = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
SPECS = {
    "recognition": {"data": {"views": {"clips": 2, "crops": 3}}},
    "retrieval": {"backbone": TEXTS, "task": {"kind": "retrieval", "words": 16, "rescoring": {"kind": "querybank"}}},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield patch


@pytest.fixture(scope="module")
def runs(home):
    specs = {kind: tiny(name=kind, **changes) for kind, changes in SPECS.items()}
    return {kind: launch({kind: spec}, progress=SILENT)[kind] for kind, spec in specs.items()}


@pytest.fixture(scope="module")
def videos(runs):
    return [clip.path for clip in tiny().data.dataset.clips("test")][:3]


def reader_of(run, folder):
    weights = MLflowStore().prepare().download(run.run_id, "checkpoint", folder) / run.name / "weights.safetensors"
    spec = tiny(name=run.name, **SPECS[run.name])
    return AttentionReader(spec, weights, classes=spec.data.dataset.classes())


@pytest.mark.parametrize("kind", SPECS)
def test_maps_are_those_of_the_runs_own_pass(kind, runs, videos, tmp_path):
    """The frames are the middle crop of the first view; the maps are made here once more, of the same frames."""
    reader = reader_of(runs[kind], tmp_path)
    seen = list(reader.read(videos))
    assert [each.video for each in seen] == videos
    for each in seen:
        assert isinstance(each, AttentionMaps)
        assert each.frames_THWC.shape == (4, 32, 32, 3)
        assert each.tower_TGG.shape == each.side_TGG.shape == (4, 4, 4)
        features = features_of_batch(reader._tower, _Batch(each.frames_THWC), reader._reads)
        with torch.no_grad(), SideReading(reader._side, reader._tower) as reading:
            reader._side(features)
            side = reading.map(features)[0].numpy()
        assert np.allclose(each.tower_TGG, tower_map(reader._tower, features)[0].numpy(), atol=1e-6)
        assert np.allclose(each.side_TGG, side, atol=1e-6)
    assert not np.allclose(seen[0].side_TGG, seen[1].side_TGG)
    assert not np.allclose(seen[0].side_TGG, seen[0].tower_TGG)


class _Batch:
    stored = None

    def __init__(self, frames_THWC):
        self.video_BTCHW = torch.from_numpy(frames_THWC.copy()).permute(0, 3, 1, 2)[None]


def test_the_answer_is_what_the_model_says_of_that_view(runs, videos, tmp_path, home):
    reader = reader_of(runs["recognition"], tmp_path)
    weights = tmp_path / "checkpoint" / "recognition" / "weights.safetensors"
    model = Model(tiny(name="recognition"), reader._classes, weights)
    for seen, said in zip(reader.read(videos), model.predict(videos), strict=True):
        label, score = said.labels[0]
        assert seen.answer == f"{label} {score:.0%}"


def test_retrieval_answers_nothing_and_asks_for_no_captions(runs, videos, tmp_path, monkeypatch):
    from side4video.data.datasets.motion import MotionSpec

    monkeypatch.setattr(MotionSpec, "clips", lambda self, split: pytest.fail("the data set was asked"))
    assert [each.answer for each in reader_of(runs["retrieval"], tmp_path).read(videos)] == ["", "", ""]


def test_a_broken_video_is_told_of_and_the_others_are_read(runs, videos, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    seen = list(reader_of(runs["recognition"], tmp_path).read([videos[0], tmp_path / "bad.mp4", videos[1]]))
    assert [type(each) for each in seen] == [AttentionMaps, UnreadableVideo, AttentionMaps]
    assert seen[1].reason


def test_methods_without_a_side_network_are_refused(tmp_path):
    spec = tiny(method={"kind": "linear"})
    with pytest.raises(InputError, match=r"method.kind: linear · allowed: side4video"):
        AttentionReader(spec, tmp_path / "none.safetensors")


def invoke(*arguments):
    return CliRunner().invoke(attention, [str(each) for each in arguments], catch_exceptions=False)


def test_the_command_draws_each_video(runs, videos, tmp_path):
    twin = tmp_path / "other" / videos[0].rsplit("/", 1)[-1]
    twin.parent.mkdir()
    shutil.copyfile(videos[1], twin)
    done = invoke(runs["recognition"].run_id[:8], videos[0], twin, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    stem = twin.stem
    assert [each["video"] for each in told["videos"]] == [videos[0], str(twin)]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"{name}.{kind}" for name in (stem, f"{stem}-2") for kind in ("png", "pdf", "svg", "mp4"))
    first, second = ((tmp_path / "out" / f"{name}.png").read_bytes() for name in (stem, f"{stem}-2"))
    assert first != second
    assert "receives" in told["definitions"]["side network"]


def test_the_command_says_what_it_cannot_read_and_ends_with_one(runs, videos, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    done = invoke("retrieval", tmp_path / "bad.mp4", videos[0], "--out", tmp_path / "out", "--no-film")
    assert done.exit_code == 1
    assert "bad.mp4: " in done.stderr
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".pdf", ".png", ".svg"]


def test_a_video_that_takes_too_long_is_one_that_cannot_be_read(runs, videos, tmp_path, monkeypatch):
    limits = []

    def give_up(job, *, limit_seconds):
        limits.append(limit_seconds)
        return JobFailed("no answer") if len(limits) == 1 else job()

    monkeypatch.setattr("side4video.data.streams.timed_prefetch.run_in_thread", give_up)
    done = invoke("retrieval", *videos[:2], "--out", tmp_path / "out", "--no-film", "--video-seconds", "3")
    assert (done.exit_code, limits) == (1, [3.0, 3.0])
    assert f"{videos[0]}: no answer" in done.stderr
    assert str(videos[1]) in done.stdout


def test_an_exported_folder_is_drawn_alike(runs, videos, tmp_path):
    run = runs["recognition"]
    done = CliRunner().invoke(export, [run.run_id, str(tmp_path / "model"), "--with-backbone"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    ours = next(iter(reader_of(run, tmp_path).read(videos[:1])))
    theirs = next(iter(load_attention(tmp_path / "model").read(videos[:1])))
    assert np.array_equal(ours.side_TGG, theirs.side_TGG)
    assert np.array_equal(ours.tower_TGG, theirs.tower_TGG)


def test_a_folder_that_cannot_be_made_is_named(runs, videos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--out"):
        invoke("recognition", videos[0], "--out", tmp_path / "file" / "out")
