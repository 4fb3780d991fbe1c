"""`side4video examples`: what is shown is what the evaluation found, and the pictures and the page say so."""

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from side4video.apps.examples import search as module
from side4video.apps.examples.command import examples
from side4video.apps.examples.figure import OWN_COLOUR, examples_figure
from side4video.apps.examples.queries import Example, FoundVideo, Query, read_queries
from side4video.apps.examples.search import VideoGallery, readable_names
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.data.clip import Clip
from side4video.inference.retrieval import RetrievalModel
from side4video.reports.render import render
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

TEXTS = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
TASK = {"kind": "retrieval", "words": 16, "rescoring": {"kind": "dual-softmax"}}


def spec_of(**changes):
    return tiny(name="texts", backbone=TEXTS, task=TASK, data={"views": {"clips": 1}}, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield launch({"texts": spec_of()}, progress=SILENT)["texts"]


@pytest.fixture(scope="module")
def stored(run, tmp_path_factory):
    file = MLflowStore().prepare().download(run.run_id, "predictions.csv", tmp_path_factory.mktemp("stored"))
    return read_queries(file.read_text(), where="run")


@pytest.fixture(scope="module")
def gallery(run, tmp_path_factory):
    folder = MLflowStore().prepare().download(run.run_id, "checkpoint", tmp_path_factory.mktemp("weights"))
    encoder = RetrievalModel(spec_of(), folder / "texts" / "weights.safetensors")
    return VideoGallery(encoder, spec_of().data.dataset.clips("test"), SILENT)


def test_every_rank_is_the_stored_one(gallery, stored):
    """All captions of the evaluation, ranked here one by one: the ranks of the run's own predictions."""
    assert len(stored) == 40
    for query in stored:
        assert gallery.find(query, top=1).own_rank == query.rank


def test_the_first_videos_and_the_own_one(gallery, stored):
    late = max(stored, key=lambda each: each.rank)
    example = gallery.find(late, top=3)
    assert [video.rank for video in example.found] == [1, 2, 3, late.rank]
    assert [video.is_own for video in example.found] == [False, False, False, True]
    scores = [video.score for video in example.found]
    assert scores == sorted(scores, reverse=True)
    early = min(stored, key=lambda each: each.rank)
    assert len(gallery.find(early, top=3).found) == 3 if early.rank <= 3 else 4
    for video in example.found:
        assert video.frames_THWC.shape == (4, 32, 32, 3)
        assert len(video.similarities_T) == 4
        assert gallery.clips[video.clip].path.endswith(video.name)
    own = example.found[-1]
    assert late.caption in gallery.clips[own.clip].captions


def test_ties_count_against_the_model(gallery, stored, monkeypatch):
    alike = torch.zeros(len(gallery.places))
    monkeypatch.setattr(gallery, "similarities", lambda query: alike)
    example = gallery.find(stored[0], top=2)
    assert example.own_rank == len(gallery.places)
    alike[3] = float("nan")
    assert gallery.find(stored[0], top=2).own_rank == len(gallery.places) - 1


def test_names_are_short_and_say_spans():
    clips = [Clip("/data/a/x.mp4", None), Clip("/data/ab/y.mp4", None, start_seconds=1.5, end_seconds=3.0)]
    assert readable_names(clips) == ["a/x.mp4", "ab/y.mp4 (1.5–3 s)"]
    assert readable_names([Clip("x.mp4", None)]) == ["x.mp4"]
    assert readable_names([Clip("/one/x.mp4", None, end_seconds=2.0)]) == ["x.mp4 (0–2 s)"]


# ---- the command


def invoke(*arguments):
    return CliRunner().invoke(examples, [str(each) for each in arguments], catch_exceptions=False)


def test_the_command_writes_pictures_and_a_page(run, stored, tmp_path):
    done = invoke(run.run_id[:8], "--out", tmp_path / "out", "--queries", 4, "--top", 2, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [row["rank"] for row in told["queries"]] == [row["stored_rank"] for row in told["queries"]]
    ranks = sorted(query.rank for query in stored)
    assert [row["stored_rank"] for row in told["queries"]] == [ranks[5], ranks[15], ranks[25], ranks[35]]
    assert len(told["notes"]) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"examples.{kind}" for kind in ("html", "pdf", "png", "svg")
    ]
    text = (tmp_path / "out" / "examples.html").read_text()
    assert text.count(" – its own video") == 4
    assert all(row["caption"] in text for row in told["queries"])
    assert "Chosen by rule" in text
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)', text)
    assert str(tmp_path) not in text


def test_ranks_that_moved_are_told(run, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "VideoGallery", Reversed)
    done = invoke(run.run_id, "--out", tmp_path / "out", "--queries", 2)
    assert "Ranks that differ from the stored ones" in done.stdout


class Reversed(VideoGallery):
    """Finds the least alike first."""

    def similarities(self, query):
        return -super().similarities(query)


def test_what_it_cannot_show_is_refused(run, tmp_path, monkeypatch):
    other = launch({"plain": tiny(name="plain")}, progress=SILENT)["plain"]
    with pytest.raises(InputError, match=r"its task is recognition · allowed: retrieval"):
        invoke(other.run_id, "--out", tmp_path)
    kind = type(spec_of().data.dataset)
    monkeypatch.setattr(kind, "fingerprint", lambda self: "another")
    with pytest.raises(InputError, match="not those of the run any more"):
        invoke(run.run_id, "--out", tmp_path)


# ---- the picture and the page


def example(rank, *, frames=8, size=(32, 48), caption="a cat"):
    def video(place, is_own):
        picture = np.full((frames, *size, 3), 20 * place % 250, np.uint8)
        picture[:, :, :, 0] = np.arange(frames)[:, None, None] * 10
        return FoundVideo(place, 1 / place, place, f"{place}.mp4", is_own, picture, [0.1] * frames)

    found = [video(place, place == rank) for place in (1, 2, 3)]
    return Example(Query(0, rank, rank, caption), [*found, video(rank, True)] if rank > 3 else found)


def test_the_own_video_alone_is_framed_and_named():
    rows = [example(1), example(2), example(40)]
    figure = examples_figure(rows, title="t", caption="c", videos=100)
    framed = [bool(axes.patches) for axes in figure.axes]
    assert framed == [True, False, False, False, True, False, False, False, False, True]
    labels = [text.get_text() for text in figure.texts if text.get_color() == OWN_COLOUR]
    assert labels == ["1.  1.000  own video", "2.  0.500  own video", "40.  0.025  own video"]


def test_frames_are_the_middles_of_equal_parts_in_order():
    figure = examples_figure([example(1)], title="t", caption="c", videos=100, frames=4)
    picture = figure.axes[0].images[0].get_array()
    reds = [int(picture[5, 20 + number * (48 + 1), 0]) for number in range(4)]
    assert reds == [10, 30, 50, 70]


@pytest.mark.parametrize("is_alone", [False, True])
def test_nothing_lies_over_another_thing_or_outside(is_alone):
    rows = [example(1), example(40, caption="a very long caption " * 12), example(2, size=(48, 32))]
    if is_alone:
        rows = [Example(row.query, [video for video in row.found if video.is_own]) for row in rows]
    figure = examples_figure(rows, title="t", caption="how it was chosen. " * 20, videos=100)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_window_extent(renderer) for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_the_page_is_safe_with_any_text():
    bad = "<script>alert('x')</script>&\udcff"
    lost = FoundVideo(1, 0.5, 3, bad, True, None)
    text = render("examples.html.j2", title=bad, examples=[Example(Query(0, 3, 1, bad), [lost])], notes=[bad], videos=9)
    assert "<script>" not in text
    assert "It cannot be read any more." in text
    text.encode()
