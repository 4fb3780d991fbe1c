"""A run's module, asked about files: what it keeps is what an evaluation keeps, whatever the matching."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from side4video.core.errors import InputError, Side4VideoError
from side4video.data.decode import clip_frames
from side4video.data.streams.loader import EvaluationStream
from side4video.engine.checkpoint import save_tensors
from side4video.engine.process_group import ProcessGroup
from side4video.inference.ranking import rank_videos
from side4video.inference.retrieval import RetrievalModel
from side4video.inference.video_folder import list_videos
from side4video.inference.video_index import FolderIndex
from side4video.models.frozen_features import features_of_batch
from side4video.run import build_student
from tiny import tiny

TEXT_SIDE = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
KINDS = {
    "mean": ({"kind": "mean"}, {}),
    "fp16": ({"kind": "token-wise"}, {"keep": "fp16"}),
    "querybank": ({"kind": "token-wise", "weighted": False}, {"rescoring": {"kind": "querybank"}}),
    "tight": ({"kind": "tight", "layers": 1}, {}),
}


def retrieval(kind="mean", *, backbone=None, **changes):
    matching, task = KINDS[kind]
    method = {"kind": "clip4clip-frozen", "similarity": "tight-transf"} if kind == "tight" else {"kind": "side4video"}
    shape = {} if kind == "tight" else {"layers": 2, "dim": 64}
    return tiny(
        backbone=TEXT_SIDE | (backbone or {}),
        task={"kind": "retrieval", "words": 16, "matching": matching, **task},
        method=method | shape,
        **changes,
    )


def student_of(spec):
    """An untrained student with other weights than it begins with, and its tower."""
    tower = spec.backbone.build("cpu")
    student = build_student("a", spec, ProcessGroup(), tower)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.module.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    student.module.eval()
    return student, tower


@pytest.fixture
def clips(tmp_path):
    """Eight test clips in a folder, in the order of their names, with no captions beside them."""
    spec = retrieval()
    spec.data.dataset.prepare()
    folder = tmp_path / "clips"
    folder.mkdir()
    listed = spec.data.dataset.clips("test")[:8]
    for number, clip in enumerate(listed):
        shutil.copy2(clip.path, folder / f"{number}.mp4")
    return listed, folder


def encoder_of(spec, student, folder):
    save_tensors(student.module, folder / "weights.safetensors")
    return RetrievalModel(spec, folder / "weights.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_what_an_evaluation_keeps_and_shows_what_it_saw(kind, clips, tmp_path):
    listed, folder = clips
    spec = retrieval(kind)
    student, tower = student_of(spec)
    encoder = encoder_of(spec, student, tmp_path)
    files = list_videos(folder)[0]
    index = FolderIndex().with_all(list(encoder.embed_videos(folder, files)))
    assert [entry.file for entry in index.entries] == files
    assert all(entry.seconds for entry in index.entries)
    stream = EvaluationStream(spec.data, listed, batch_size=spec.evaluation.batch_size)
    kept, frames = [], []
    with torch.no_grad():
        for batch in stream.batches():
            features = features_of_batch(tower, batch, student.reads)
            _, videos = student.module(features, student.task.targets(batch))
            kept.append(videos)
            frames.append(batch.video_BTCHW)
    for number, tensor in enumerate(index.kept):
        expected = torch.cat([each[number] for each in kept])
        assert tensor.dtype == (torch.float16 if kind == "fp16" else torch.float32)
        assert torch.equal(tensor, expected.to(tensor.dtype))
    question = encoder.read(listed[0].captions[0])
    found = rank_videos(encoder.matching, question.kept, index, top=3, process=ProcessGroup())
    assert [each.rank for each in found] == [1, 2, 3]
    video_frames = encoder.video_frames(folder, [each.entry.file for each in found], question)
    for each in found:
        seen = video_frames[each.entry.file]
        number = int(Path(each.entry.file.name).stem)
        assert np.array_equal(seen.frames_TCHW, torch.cat(frames)[number])
        assert seen.similarities_T.shape == (4,)
        assert seen.similarities_T.abs().max() <= 1


def test_only_what_changes_features_makes_another_identity(clips, tmp_path):
    spec = retrieval()
    student, _ = student_of(spec)
    identity = encoder_of(spec, student, tmp_path).identity()
    weights = tmp_path / "weights.safetensors"

    def again(**changes):
        return RetrievalModel(retrieval(**changes), weights).identity()

    same = [
        {"name": "other", "optimization": {"batch_size": 4}},
        {"data": {"loader": {"workers": 3}, "broken_clips": {"kind": "skip"}, "train_fraction": 0.5}},
        {"backbone": {"chunk_frames": 3}},
    ]
    others = [
        {"data": {"sampling": {"kind": "dense", "stride": 2}}},
        {"data": {"decoder": "auto"}},
        {"evaluation": {"precision": "bf16"}},
    ]
    assert all(again(**changes) == identity for changes in same)
    assert all(again(**changes) != identity for changes in others)
    with torch.no_grad():
        next(student.module.parameters()).add_(1)
    assert encoder_of(spec, student, tmp_path).identity() != identity


def test_long_texts_are_cut_and_said_to_be(tmp_path):
    spec = retrieval()
    encoder = encoder_of(spec, student_of(spec)[0], tmp_path)
    whole, longer = "dog " * 14, "dog " * 15
    assert [encoder.read(text).is_cut for text in ("dog", whole, longer, longer * 9)] == [False, False, True, True]
    assert torch.equal(encoder.read(whole).tokens_QW, encoder.read(longer).tokens_QW)
    with pytest.raises(InputError, match="TEXT: no word"):
        encoder.read("&nbsp;")


def test_a_hanging_video_is_named(clips, tmp_path, monkeypatch):
    _, folder = clips
    spec = retrieval(data={"loader": {"workers": 0, "timeout_seconds": 1.0}}, evaluation={"batch_size": 2})
    encoder = encoder_of(spec, student_of(spec)[0], tmp_path)
    original, never = clip_frames.decode_frames, threading.Event()

    def hangs(path, *arguments, **options):
        if path.endswith("5.mp4"):
            never.wait(20)
        return original(path, *arguments, **options)

    monkeypatch.setattr(clip_frames, "decode_frames", hangs)
    seen = []
    with pytest.raises(Side4VideoError, match=r"the videos are .*/4\.mp4, .*/5\.mp4$"):
        seen.extend(encoder.embed_videos(folder, list_videos(folder)[0]))
    assert len(seen) == 2
    never.set()
