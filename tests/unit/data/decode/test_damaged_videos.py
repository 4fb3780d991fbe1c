"""Hundreds of damaged videos through every decoder: frames or BrokenClip, soon, and in the memory of good ones.

Decoders are libraries in C that can take the interpreter down, so they run in processes that are watched.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

import damaged_child
from damage import DAMAGES, damaged, write_corpus

DECODERS = ["pyav", *(name for name in ("decord", "torchcodec") if find_spec(name))]
EACH = 36
"""Files of each kind of damage."""

START_SECONDS = 60
FILE_SECONDS = 10
GROWTH_MIB = 32
"""Over a second look at all files: at the first, libraries take what they keep for ever."""
RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
"""Else glibc keeps 150 MB that one huge file had, and what is held cannot be told from what is free."""
PEAK_MIB = 800
"""Above a process that has decoded nothing: a few frames of the largest size allowed, 100 MB each."""


def make(path, codec, *, frames=24, height=64, width=80, container=None, options=None):
    """A picture that moves over noise; bytes that are the same each time."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (16, 32, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 8
        stream.options = options or {}
        for number in range(frames):
            shown = np.ascontiguousarray(picture[number : number + height, 2 * number : 2 * number + width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")
    quick = {"preset": "veryfast"}
    made = {
        "late.mp4": make(folder / "late.mp4", "libx264", options={**quick, "bf": "2"}),
        "early.mp4": make(folder / "early.mp4", "libx264", options=quick, container={"movflags": "faststart"}),
        "plain.mkv": make(folder / "plain.mkv", "libx264", options=quick),
        "pieces.mp4": make(
            folder / "pieces.mp4", "libx264", options=quick, container={"movflags": "frag_keyframe+empty_moov"}
        ),
    }
    if "libvpx" in av.codecs_available:
        made["small.webm"] = make(folder / "small.webm", "libvpx", options={"deadline": "realtime"})
    return made


@pytest.fixture(scope="module")
def corpus(sources, tmp_path_factory) -> list[Path]:
    return write_corpus(tmp_path_factory.mktemp("damaged"), sources, each=EACH)


class WatchedProgress:
    """A process that decodes; asked for one file after the other."""

    def __init__(self, decoder, way):
        paths = [str(Path(damaged_child.__file__).parent), *sys.path]
        self.process = subprocess.Popen(
            [sys.executable, damaged_child.__file__, decoder, way],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **RETURN_AT_ONCE},
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.seconds = START_SECONDS

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def ask(self, path, seconds):
        """How the file ended; a process that hangs or dies has ended with it."""
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=max(self.seconds, seconds))
        except queue.Empty:
            return {"path": str(path), "outcome": f"hangs: no answer in {seconds} s"}
        except BrokenPipeError:
            line = ""
        self.seconds = seconds  # the first answer waits for imports, too
        return json.loads(line) if line else {"path": str(path), "outcome": f"died: {self.process.wait()}"}

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def decode_all(paths, decoder, *, way="decode", seconds=FILE_SECONDS, rounds=1):
    """How each file ended, and what is wrong with that."""
    answers, wrong, levels = [], [], []
    child = WatchedProgress(decoder, way)
    try:
        for path in [*paths] * rounds:
            answer = child.ask(path, seconds)
            answers.append(answer)
            if answer["outcome"] not in ("frames", "broken"):
                wrong.append(f"{Path(path).name}: {answer['outcome']}")
            if "rss_mib" not in answer:
                child.close()
                child = WatchedProgress(decoder, way)
            elif answer["seconds"] > seconds:
                wrong.append(f"{Path(path).name}: {answer['seconds']:.1f} s")
            if len(answers) % len(paths) == 0:
                levels.append(answer.get("rss_mib", 0))
    finally:
        child.close()
    if levels[-1] - levels[0] > GROWTH_MIB:
        wrong.append(f"memory grew by {levels[-1] - levels[0]:.0f} MiB over {len(paths) * (rounds - 1)} files")
    high = answers[0].get("rss_mib", 0) + PEAK_MIB
    if above := [answer for answer in answers if answer.get("peak_mib", 0) > high]:
        wrong.append(f"{Path(above[0]['path']).name}: took the process to {above[0]['peak_mib']:.0f} MiB")
    return answers, wrong


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_damaged_video_gives_frames_or_a_reason(corpus, sources, decoder):
    assert len(corpus) >= 500
    answers, wrong = decode_all(corpus, decoder, rounds=2)
    assert wrong == []
    outcomes = {Path(answer["path"]).name: answer["outcome"] for answer in answers}
    assert min(list(outcomes.values()).count(outcome) for outcome in ("frames", "broken")) > len(corpus) // 10
    for name in sources:  # what a file is called does not matter
        assert outcomes[f"{Path(name).stem}-named.jpg"] == "frames"


def test_the_damage_is_the_same_each_time(sources):
    for kind in DAMAGES:
        for name, raw in sources.items():
            versions = [damaged(raw, kind, number) for number in range(9)]
            assert versions == [damaged(raw, kind, number) for number in range(9)], (kind, name)
            if name.endswith(".mp4"):  # boxes and the codec's set-up are what some kinds change
                assert sum(version != raw for version in versions) >= 5, (kind, name)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        ("leaky", "RuntimeError: cannot find video stream"),
        ("hanging", "hangs: no answer in 1 s"),
        ("dying", "died: -11"),
    ],
)
def test_a_decoder_that_does_worse_is_noticed(corpus, way, complaint):
    bad = next(path for path in corpus if path.name == "text.mp4")
    good = next(path for path in corpus if path.name == "late-named.mp4")
    _, wrong = decode_all([good, bad, good], "pyav", way=way, seconds=1)
    assert wrong == [f"text.mp4: {complaint}"]


@pytest.mark.long
@pytest.mark.slow
def test_memory_that_grows_is_noticed(corpus):
    good = next(path for path in corpus if path.name == "late-named.mp4")
    _, wrong = decode_all([good] * 10, "pyav", way="hoarding", rounds=2)
    assert len(wrong) == 1
    assert "memory grew by" in wrong[0]
    assert decode_all([good] * 10, "pyav", rounds=2)[1] == []
