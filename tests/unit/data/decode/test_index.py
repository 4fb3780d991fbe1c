"""Spans in seconds count from a video's first frame, wherever its own clock begins.

What was cut out of a longer recording often keeps the recording's clock; an annotation says seconds of the cut.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_index import KeyFrame, VideoIndex, read_index
from side4video.data.decode.video_source import BrokenClip

RATE = 10


def late(first, *, frames=40, step=1, tick=0.1):
    """The index of a video that begins `first` ticks into its clock."""
    times = first + step * np.arange(frames)
    return VideoIndex(times, (KeyFrame(0, first),), tick, has_times=True)


@pytest.mark.parametrize("first", [0, 1, 30, 100_000, -25])
def test_a_span_counts_from_the_first_frame(first):
    index = late(first)
    assert index.span(None, None) == (0, 40)
    assert index.span(0.0, None) == (0, 40)
    assert index.span(1.0, 2.0) == (10, 20)
    assert index.span(None, 0.5) == (0, 5)
    assert index.span(3.5, None) == (35, 40)
    assert index.span(0.0, 100.0) == (0, 40)
    assert index.span(50.0, None) == (40, 40)


@pytest.mark.parametrize("first", [0, 90])
def test_a_frame_at_the_begin_is_inside_and_one_at_the_end_is_not(first):
    index = late(first, step=3, tick=1 / 90)  # thirty frames a second
    assert index.span(0.1, 0.2) == (3, 6)
    assert index.span(0.11, 0.21) == (4, 7)


def test_without_time_stamps_there_is_no_span():
    index = VideoIndex(np.arange(5), (), 0.0, has_times=False)
    assert index.span(None, None) == (0, 5)
    with pytest.raises(ValueError, match="no time stamps"):
        index.span(0.0, None)


def write(path, first):
    """Forty frames that all differ, the first shown `first` tenths of a second into the file's clock."""
    shown = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "g": "8"}
        for number, frame_HWC in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts = first + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def shown_by(path):
    with av.open(path) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return frames[0][0], np.stack([pixels for _, pixels in frames])


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("first", [0, 30])
def test_a_clip_of_a_video_that_begins_later_has_the_frames_of_its_own_seconds(first, decoder, tmp_path):
    if decoder == "decord":
        pytest.importorskip("decord", reason="decord is not installed here")
    path = write(tmp_path / "late.mkv", first)
    begins, frames = shown_by(path)
    assert begins == pytest.approx(first / RATE, abs=0.05)
    assert read_index(path).times[0] * read_index(path).seconds_per_tick == pytest.approx(begins, abs=1e-3)
    found, info = decode_frames(path, range, decoder=decoder, start_seconds=1.0, end_seconds=2.5)
    assert info.total_frames == 15
    assert (found == frames[10:25]).all()
    assert decode_frames(path, range, decoder=decoder, start_seconds=3.5)[1].total_frames == 5
    assert decode_frames(path, range, decoder=decoder, end_seconds=0.5)[1].total_frames == 5


def test_a_span_after_the_end_is_told_in_the_same_seconds(tmp_path):
    path = write(tmp_path / "late.mkv", 30)
    with pytest.raises(BrokenClip, match=r"no frame from 5 s to the end: its last frame is shown at 3\.90 s"):
        decode_frames(path, range, start_seconds=5.0)


def claiming(path, width, height):
    """A file of small frames whose header and stream say that they are so large."""
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


@pytest.mark.parametrize(("width", "height", "is_read"), [(7680, 4320, True), (8160, 4112, True), (8176, 4128, False)])
def test_frames_up_to_8k_are_read_and_larger_ones_refused(width, height, is_read, tmp_path):
    """2^25 pixels are a little more than 8K video has."""
    path = claiming(tmp_path / "large.mp4", width, height)
    if is_read:
        assert len(read_index(path).times) == 1
        return
    with pytest.raises(BrokenClip, match=f"its header claims frames of {width} x {height} pixels"):
        read_index(path)


def test_threads_may_read_indexes_at_once(tmp_path):
    write(tmp_path / "0.mp4", 0)
    content = (tmp_path / "0.mp4").read_bytes()
    for name in range(1, 400):
        (tmp_path / f"{name}.mp4").write_bytes(content)
    paths = [str(tmp_path / f"{name}.mp4") for name in range(400)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            lengths = {len(index) for index in threads.map(read_index, paths)}
    finally:
        sys.setswitchinterval(interval)
    assert lengths == {40}
