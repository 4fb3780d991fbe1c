"""Videos that are read in processes of their own are the same videos; one that hangs costs itself alone."""

from pathlib import Path

import pytest
import torch

from hanging_reader import HangingReader
from side4video.apps.serve.predictors import ClassifierPredictor
from side4video.apps.serve.protocol import PredictRequest
from side4video.core.worker_pool import WorkerPool
from side4video.data.clip import Clip
from side4video.data.spec import SkipBrokenSpec
from side4video.data.streams.pool_prefetch import PoolPrefetcher
from side4video.data.streams.prefetch import thread_prefetcher
from side4video.data.streams.reader import EvaluationKey, EvaluationReader
from side4video.inference.model import Model
from side4video.inference.prediction import Prediction
from tiny import tiny

LIMIT = 10
"""Seconds; a process that takes another's place has to import torch in them."""


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(1) as pool:
        yield pool


def test_batches_are_those_of_a_thread(pool, tmp_path):
    data = tiny(data={"views": {"clips": 2, "crops": 3}}).data
    data.dataset.prepare()
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(Path(data.dataset.clips("test")[0].path).read_bytes()[:-1500])
    paths = [clip.path for clip in data.dataset.clips("test")[:3]]
    clips = [Clip(str(path), label=None) for path in (paths[0], tmp_path / "broken.mp4", *paths[1:])]
    reader = EvaluationReader(data.model_copy(update={"broken_clips": SkipBrokenSpec(cap=1.0)}), clips)
    keys = [[EvaluationKey(index, view) for index in pair for view in range(2)] for pair in ((0, 1), (2, 3), (1,))]
    found = list(PoolPrefetcher(reader, pool, limit_seconds=60).read(keys))
    expected = list(thread_prefetcher(reader, data.loader).read(keys))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.video_BTCHW, other.video_BTCHW)
        assert torch.equal(one.indices_B, other.indices_B)
        assert torch.equal(one.views_B, other.views_B)
        assert torch.equal(one.labels_B, other.labels_B)
        assert one.broken == other.broken
        assert one.captions == other.captions
    assert [len(batch) for batch in found] == [6, 12, 0]
    assert not found[0].broken[0].is_video


@pytest.mark.slow
def test_a_video_that_hangs_costs_itself_alone(pool):
    reader = HangingReader(1)
    reader.clips = [Clip(f"{index}.mp4", label=None) for index in range(3)]
    (batch,) = PoolPrefetcher(reader, pool, limit_seconds=LIMIT).read([[EvaluationKey(index, 0) for index in range(3)]])
    assert batch.indices_B.tolist() == [0, 2]
    assert [report.path for report in batch.broken] == ["1.mp4"]
    assert f"no answer within {LIMIT} s" in batch.broken[0].reason


class Told(Model):
    """A model that sees nothing and says what it was told."""

    def __init__(self, found):
        self.found, self.asked = found, []

    def predict(self, videos, *, top=5, prefetch=None):
        self.asked.append((list(videos), top))
        return self.found


def test_each_question_gets_its_own_answer():
    labels = (("a", 0.5), ("b", 0.3), ("c", 0.2))
    found = [
        Prediction("1", labels),
        Prediction("2", (), "truncated: it promises 9 frames"),
        Prediction("3", (), "Invalid data found", is_video=False),
        Prediction("4", labels),
    ]
    model = Told(found)
    labeller = ClassifierPredictor(lambda: model, limit_seconds=1, processes=1)
    answers = labeller.answer(
        [PredictRequest((str(n),), (f"{n}.mp4",), top) for n, top in ((1, 2), (2, 9), (3, 1), (4, 3))]
    )
    assert model.asked == [(["1", "2", "3", "4"], 9)]
    assert [answer.status for answer in answers] == [200, 422, 415, 200]
    assert answers[0].document == {"video": "1.mp4", "labels": [["a", 0.5], ["b", 0.3]]}
    assert answers[1].document == {"video": "2.mp4", "error": "truncated: it promises 9 frames"}
    assert answers[2].document["error"] == "no video can be read in it: Invalid data found"
    assert len(answers[3].document["labels"]) == 3
    labeller.close()
