"""A video that takes too long is reported as unreadable, the others are read, and all others are the same videos."""

import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from exported import exported
from hanging_reader import HangingReader
from side4video.cli.predict import predict
from side4video.core.worker_pool import WorkerPool
from side4video.data.clip import Clip
from side4video.data.spec import LoaderSpec, SkipBrokenSpec
from side4video.data.streams import timed_prefetch
from side4video.data.streams.prefetch import thread_prefetcher
from side4video.data.streams.reader import EvaluationKey, EvaluationReader
from side4video.data.streams.timed_prefetch import TimedPrefetcher
from tiny import tiny

HERE = LoaderSpec(workers=0)


def read(reader, spec, *batches, limit_seconds):
    with closing(TimedPrefetcher(reader, spec, limit_seconds=limit_seconds)) as prefetcher:
        return list(prefetcher.read([[EvaluationKey(index, 0) for index in batch] for batch in batches]))


@pytest.fixture
def hanging():
    reader = HangingReader(1, seconds=20)
    reader.clips = [Clip(f"{index}.mp4", label=None) for index in range(4)]
    return reader


@pytest.mark.slow
def test_a_video_that_hangs_costs_itself_alone(hanging):
    """The first one is read in this process, which it does not keep; those after it in another one."""
    begin = time.monotonic()
    first, second = read(hanging, HERE, [0, 1, 2], [3], limit_seconds=0.3)
    assert time.monotonic() - begin < 18
    assert first.indices_B.tolist() == [0, 2]
    assert second.indices_B.tolist() == [3]
    (report,) = first.broken
    assert (report.path, report.reason) == ("1.mp4", "no answer within 0.3 s; a decoder may hang on it")


def test_a_limit_that_is_long_enough_changes_nothing():
    data = tiny().data
    data.dataset.prepare()
    clips = [Clip(clip.path, label=None) for clip in data.dataset.clips("test")[:3]]
    reader = EvaluationReader(data.model_copy(update={"broken_clips": SkipBrokenSpec(cap=1.0)}), clips)
    keys = [[EvaluationKey(0, 0), EvaluationKey(1, 0)], [EvaluationKey(2, 0)]]
    found = read(reader, HERE, [0, 1], [2], limit_seconds=60)
    for one, other in zip(found, thread_prefetcher(reader, data.loader).read(keys), strict=True):
        assert torch.equal(one.video_BTCHW, other.video_BTCHW)
        assert one.indices_B.tolist() == other.indices_B.tolist()


def test_one_video_starts_no_process(monkeypatch, hanging):
    monkeypatch.setattr(WorkerPool, "map_unordered", None)
    (batch,) = read(hanging, HERE, [0, 2, 3], limit_seconds=60)
    assert batch.indices_B.tolist() == [0, 2, 3]


def test_errors_of_a_reader_are_the_callers(hanging):
    hanging.read = None
    with pytest.raises(TypeError):
        read(hanging, HERE, [0], limit_seconds=60)


def test_predict_names_the_video_and_answers_the_others(tmp_path, monkeypatch):
    folder = exported(tmp_path, "model")
    videos = [clip.path for clip in tiny().data.dataset.clips("test")[:2]]
    slow = videos[0]
    read_clip = timed_prefetch.read_clip

    def read_slowly(reader, group):
        if reader.clips[group[0]].path == slow:
            time.sleep(3)
        return read_clip(reader, group)

    monkeypatch.setattr(timed_prefetch, "read_clip", read_slowly)
    monkeypatch.setattr(timed_prefetch, "WorkerPool", NoPool)
    done = CliRunner().invoke(predict, [str(folder), *videos, "--video-seconds", "1"])
    assert done.exit_code == 1
    assert "no answer within 1 s" in " ".join(done.stderr.split())
    assert done.stdout.count("%") == 5
    assert Path(videos[1]).name in done.stdout.replace("\n", "")
    done = CliRunner().invoke(predict, [str(folder), *videos, "--video-seconds", "60"])
    assert done.exit_code == 0


class NoPool(WorkerPool):
    """Does the work here: a process of a pool would not know the slow reader."""

    def map_unordered(self, job, items, **_):
        return ((item, job(item)) for item in items)
