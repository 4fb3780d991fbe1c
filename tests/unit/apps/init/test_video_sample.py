"""A sample of videos: what is told of it, which cannot be read, and that it ends in time."""

import os
import time

import pytest

from own_videos import good, put, video_bytes
from side4video.apps.init.video_sample import SAMPLE, VideoFacts, look_at_videos, open_in_processes, open_video
from side4video.data.clip import Clip


def clips(*paths, **fields):
    return [Clip(str(path), 0, **fields) for path in paths]


def test_a_video(tmp_path):
    facts = open_video(str(put(tmp_path / "a: 'b'.mp4")))
    assert (facts.width, facts.height, facts.frame_rate, facts.problem) == (64, 48, 8.0, "")
    assert facts.seconds == pytest.approx(1.5, abs=0.2)
    assert facts.frames == pytest.approx(12, abs=2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"not a video at all, only words\n" * 20, "text file"),
        (b"<html>not found</html>", "web page"),
        (video_bytes()[:200], ""),
        (bytes(4000), ""),
    ],
)
def test_broken_videos(tmp_path, content, said):
    problem = open_video(str(put(tmp_path / "a.mp4", content))).problem
    assert problem
    assert said in problem


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for ever
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    for name in ("folder.mp4", "pipe.mp4", "loop.mp4", "missing.mp4"):
        assert open_video(str(tmp_path / name)).problem


def test_a_sample_in_processes(tmp_path):
    paths = [str(put(tmp_path / f"{number}.mp4")) for number in range(3)]
    paths.append(str(put(tmp_path / "broken.mp4", b"")))
    found = dict(open_in_processes(paths, 60.0))
    assert [found[path].problem == "" for path in paths] == [True, True, True, False]


def test_what_is_told():
    def some_broken(paths, seconds):
        for number, path in enumerate(paths):
            yield path, VideoFacts(problem="cut off") if number == 1 else VideoFacts(320, 240, 25.0, 2.0 + number)

    sample = look_at_videos(clips("a", "b", "c"), opener=some_broken)
    assert sample.as_text() == "320x240, 25 frames/s, 2.0 s to 4.0 s; 3 of 3 were opened, 1 of them cannot be read"
    assert sample.broken == {"b": "cut off"}
    assert sample.broken_share == 1 / 3


def test_many_videos_are_sampled_evenly():
    sample = look_at_videos(clips(*range(100_000)), opener=good)
    assert len(sample.facts) == SAMPLE
    positions = sorted(map(int, sample.facts))
    assert positions[0] == 0
    assert positions[-1] > 98_000
    assert "64 of 100,000 were opened" in sample.as_text()


def test_it_ends_in_time():
    def slow(paths, seconds):
        for path in paths:
            time.sleep(0.05)
            yield path, VideoFacts(1, 1)

    begin = time.monotonic()
    sample = look_at_videos(clips(*range(64)), seconds=0.2, opener=slow)
    assert time.monotonic() - begin < 1.5
    assert 1 <= len(sample.facts) < 40
    assert len(look_at_videos(clips(*range(12)), seconds=60, opener=slow).facts) == 12  # the twin: nothing stops it


def test_what_is_not_opened():
    remote = clips("s3://bucket/a.mp4", "shard.tar?bytes=0+10")
    frames = clips("folder", frame_pattern="{:05d}.jpg")
    assert look_at_videos([*remote, *frames], opener=good).facts == {}
    assert look_at_videos([], opener=good).as_text() == "none was opened"
