"""Small videos of every sort, made on the spot."""

from pathlib import Path

import av
import numpy as np
import pytest

from side4video.data.datasets import MotionSpec
from side4video.data.motion_render import write_video


def moving_frames(frames, height, width, seed=0):
    """Textured frames that all differ, uint8 `[T, H, W, 3]`."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (height // 8 + 4, (width + 4 * frames) // 8 + 4, 3), dtype=np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    return np.stack([picture[:height, 3 * t : 3 * t + width] for t in range(frames)])


def encode(path, frames_THWC, *, rate=10, options=None, times=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "crf": "20", **(options or {})}
        for index, frame_HWC in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame.pts = index if times is None else times[index]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """`long_gop.mp4` (80 frames, one key frame, B-frames), `short_gop.mp4`, `uneven.mkv` (varying frame rate)."""
    folder = tmp_path_factory.mktemp("videos")
    frames = moving_frames(80, 96, 128)
    encode(folder / "long_gop.mp4", frames, options={"g": "250", "bf": "3"})
    encode(folder / "short_gop.mp4", frames, options={"g": "12", "bf": "2"})
    rng = np.random.default_rng(1)
    encode(folder / "uneven.mkv", frames[:40], options={"g": "10"}, times=np.cumsum(rng.integers(1, 5, 40)).tolist())
    return folder


@pytest.fixture(scope="session")
def motion() -> MotionSpec:
    spec = MotionSpec(train_clips=60, test_clips=20, frames=8, size=32)
    spec.prepare()
    return spec


BROKEN = ("missing", "folder", "empty", "truncated", "cut_late", "audio_only", "text", "html", "random", "playlist")


@pytest.fixture(scope="session")
def broken_files(tmp_path_factory) -> dict[str, Path]:
    """Files of every sort that hold no video, by sort; and one, `whole`, that does."""
    folder = tmp_path_factory.mktemp("broken")
    files = {name: folder / f"{name}.mp4" for name in (*BROKEN, "whole")}
    write_video(files["whole"], moving_frames(8, 32, 32))
    whole = files["whole"].read_bytes()
    files["folder"].mkdir()
    files["empty"].touch()
    files["truncated"].write_bytes(whole[: len(whole) * 2 // 3])  # the table of frames stands at the end
    early_table = encode(folder / "early.mp4", moving_frames(40, 64, 64), options={"g": "10"})
    with (
        av.open(str(early_table)) as source,
        av.open(str(folder / "fast.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    fast = (folder / "fast.mp4").read_bytes()
    files["cut_late"].write_bytes(fast[: len(fast) // 2])  # the table is whole, half the frames are gone
    with av.open(str(files["audio_only"]), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    files["text"].write_text("this is not a video\n" * 200)
    files["html"].write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
    files["random"].write_bytes(np.random.default_rng(0).bytes(20_000))
    files["playlist"].write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n")
    return files
