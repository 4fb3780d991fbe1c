import os
from pathlib import Path

import av
import numpy as np
import pytest

from side4video.core.errors import InputError
from side4video.data.decode import pyav_frames
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.pyav_frames import fetch_frames
from side4video.data.decode.video_index import read_index
from side4video.data.decode.video_source import BrokenClip

SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or Path(__file__).resolve().parents[5] / "shared" / "data")

pytest.importorskip("decord", reason="decord is not installed here: only PyAV can be tried")

WANTED = {
    "one": lambda total: [total // 2],
    "last": lambda total: [total - 1],
    "spread": lambda total: np.linspace(0, total - 1, 8).astype(int),
    "all": range,
    "late": lambda total: [total - 3, total - 2],
    "any order, repeats": lambda total: [total - 1, 3, 3, 0, total // 2],
}


def truth(path):
    """Every frame in order, by plain decoding."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("decoder", ["decord", "pyav", "auto"])
@pytest.mark.parametrize("name", ["long_gop.mp4", "short_gop.mp4", "uneven.mkv"])
def test_decoders_give_the_same_pixels(videos, name, decoder):
    frames = truth(videos / name)
    for choose in WANTED.values():
        found, info = decode_frames(str(videos / name), choose, decoder=decoder)
        assert (found == frames[np.asarray(choose(len(frames)))]).all()
        assert info.total_frames == len(frames)
        assert info.decoder == ("pyav" if decoder == "auto" else decoder)


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_spans(videos, decoder):
    path = str(videos / "long_gop.mp4")  # ten frames a second
    frames = truth(path)
    found, info = decode_frames(path, range, decoder=decoder, start_seconds=2.0, end_seconds=3.5)
    assert info.total_frames == 15
    assert (found == frames[20:35]).all()
    assert decode_frames(path, range, decoder=decoder, start_seconds=7.45)[1].total_frames == 5
    assert decode_frames(path, range, decoder=decoder, end_seconds=100.0)[1].total_frames == 80
    with pytest.raises(
        BrokenClip, match=r"list\.csv:7: .*no frame from 9 s to 10 s: its last frame is shown at 7\.90 s"
    ):
        decode_frames(path, range, decoder=decoder, start_seconds=9, end_seconds=10, origin="list.csv:7")


def test_spans_of_an_uneven_video_follow_its_clock(videos):
    path = str(videos / "uneven.mkv")
    with av.open(path) as container:
        seconds = np.array([frame.time for frame in container.decode(video=0)], dtype=float)
    seconds -= seconds[0]
    found, _ = decode_frames(path, range, start_seconds=float(seconds[10]), end_seconds=float(seconds[20]))
    assert (found == truth(path)[10:20]).all()


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_short_side_shrinks_and_never_enlarges(videos, decoder):
    path = str(videos / "short_gop.mp4")  # 96 x 128
    assert decode_frames(path, range, decoder=decoder, short_side=48)[0].shape[1:3] == (48, 64)
    assert decode_frames(path, range, decoder=decoder, short_side=200)[0].shape[1:3] == (96, 128)
    both = [decode_frames(path, range, decoder=name, short_side=40)[0] for name in ("decord", "pyav")]
    assert (both[0] == both[1]).all()


def turned(source, target, matrix):
    """The same file with another display matrix in its track header."""
    raw = bytearray(source.read_bytes())
    begin = raw.index(b"tkhd") + 44
    raw[begin : begin + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    target.write_bytes(raw)
    return str(target)


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [
        ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), -1),
        ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), 2),
        ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), 1),
    ],
)
def test_turned_videos_stand_upright(videos, tmp_path, matrix, turns):
    path = turned(videos / "long_gop.mp4", tmp_path / "turned.mp4", matrix)
    upright = np.rot90(truth(path)[::10], turns, axes=(1, 2))
    for decoder in ("pyav", "decord"):
        assert (decode_frames(path, lambda total: range(0, total, 10), decoder=decoder)[0] == upright).all(), decoder


def test_a_file_decord_cannot_do_is_tried_with_pyav(videos, monkeypatch):
    import decord

    def fail(*_, **__):
        raise RuntimeError("cannot find video stream")

    monkeypatch.setattr(decord, "VideoReader", fail)
    found, info = decode_frames(str(videos / "short_gop.mp4"), range, decoder="decord")
    assert info.decoder == "pyav"
    assert (found == truth(videos / "short_gop.mp4")).all()


def watched(monkeypatch, change=lambda frames, needed: frames):
    """How often decoding began, and the frames that came out of PyAV, added up."""
    begun, given, decode = [], [], pyav_frames.decode_packets

    def watch(container, stream, failures, needed):
        begun.append(needed)
        for frame in change(decode(container, stream, failures, needed), needed):
            given.append(frame.pts)
            yield frame

    monkeypatch.setattr(pyav_frames, "decode_packets", watch)
    return begun, given


def test_pyav_jumps_only_to_a_key_frame_that_lies_ahead(videos, monkeypatch):
    begun, _ = watched(monkeypatch)
    for name, jumps in (("long_gop.mp4", 1), ("short_gop.mp4", 3)):
        begun.clear()
        path = str(videos / name)
        found = fetch_frames(path, [0, 11, 13, 22, 40, 41, 79], read_index(path), short_side=None)
        assert len(found) == 7
        assert len(begun) == jumps


def test_pyav_skips_what_no_wanted_frame_builds_on(videos, monkeypatch):
    path, frames = str(videos / "long_gop.mp4"), truth(videos / "long_gop.mp4")
    _, given = watched(monkeypatch)
    for wanted in ([79], [40, 41, 42, 43], list(range(0, 80, 7)), list(range(1, 80, 7))):
        given.clear()
        found, _ = decode_frames(path, lambda _, wanted=wanted: wanted, decoder="pyav")
        assert (found == frames[wanted]).all()
        assert len(given) < 0.75 * 80


def test_where_skipping_loses_a_frame_nothing_is_skipped(videos, monkeypatch):
    def lossy(frames, needed):
        return (frame for number, frame in enumerate(frames) if needed is None or number % 2)

    path = str(videos / "long_gop.mp4")
    begun, _ = watched(monkeypatch, lossy)
    found, _ = decode_frames(path, range, decoder="pyav")
    assert (found == truth(path)).all()
    assert [needed is None for needed in begun] == [False, True]


def test_a_decoder_that_gives_other_frames_than_the_packets_say_is_counted(videos, monkeypatch):
    """The seventh frame never comes: the file has 79, and those behind it move up."""
    path, index_of_all = str(videos / "short_gop.mp4"), read_index(str(videos / "short_gop.mp4"))
    dropped = int(index_of_all.times[7])

    def forgetful(container, stream, failures, needed=None, decode=pyav_frames.decode_packets):
        return (frame for frame in decode(container, stream, failures, needed) if frame.pts != dropped)

    monkeypatch.setattr(pyav_frames, "decode_packets", forgetful)
    monkeypatch.setattr("side4video.data.decode.video_index.decode_packets", forgetful)
    found, info = decode_frames(path, range, decoder="pyav")
    assert info.total_frames == 79
    assert (found == np.delete(truth(path), 7, axis=0)).all()


def test_a_choice_outside_the_video_is_a_bug_of_the_caller(videos):
    with pytest.raises(IndexError):
        decode_frames(str(videos / "short_gop.mp4"), lambda total: [total])


def test_a_decoder_that_is_not_installed_is_named(videos, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    with pytest.raises(InputError, match=r"data\.decoder: torchcodec cannot be loaded"):
        decode_frames(str(videos / "short_gop.mp4"), range, decoder="torchcodec")


@pytest.mark.parametrize(
    "pattern", ["fight_surv_256/fight/fi00*.mp4", "gmdcsa24_256/Subject_1*.mp4", "asl_gestures/*.mkv"]
)
def test_real_videos_agree(pattern):
    paths = sorted((SHARED / "videos").glob(pattern))[:4]
    if not paths:
        pytest.skip(f"no real videos at {SHARED}")
    for path in paths:
        both = [decode_frames(str(path), WANTED["spread"], decoder=name) for name in ("decord", "pyav")]
        assert [info.decoder for _, info in both] == ["decord", "pyav"]
        assert (both[0][0] == both[1][0]).all()
