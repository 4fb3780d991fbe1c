"""A window over a stream: predicted as its frames are, in bounded memory, from iterators, files and cameras."""

import functools
import itertools
import json
import threading
import weakref
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
from click.testing import CliRunner

import side4video
from side4video.cli import predict as command
from side4video.core.errors import InputError
from side4video.data.decode.frames import decode_frames
from side4video.inference import sliding_window
from side4video.inference.frame_source import frames_of
from side4video.inference.sliding_window import MAX_RATE, SlidingWindow, predict_windows
from tiny import tiny

SIZE = (48, 64)
RATE = 10


class Tracked(np.ndarray):
    """Frames that can be counted while they live."""


def noise(count, *, seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(run):
    return side4video.load(run.run_id)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A file of 45 frames, 10 each second, and its frames as the decoder gives them."""
    path = tmp_path_factory.mktemp("stream") / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for picture in noise(45):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path, decode_frames(str(path), range, decoder="pyav")[0]


def test_each_window_is_predicted_as_its_frames(model, video):
    path, frames = video
    found = list(model.stream(path, every=8, window_seconds=2.0, top=3, features=True))
    assert [each.frame for each in found] == [19, 27, 35, 43]
    for each in found:
        alone = model.predict(frames[each.frame - 19 : each.frame + 1], top=3, features=True)
        assert np.array_equal(each.scores, alone.scores)
        assert np.array_equal(each.features, alone.features)
        assert each.labels == alone.labels
        assert each.end_seconds == pytest.approx(each.frame / RATE)
        assert each.end_seconds - each.start_seconds == pytest.approx(1.9)


def test_an_iterator_is_the_same_stream(model, video):
    path, frames = video
    options = {"every": 5, "window_seconds": 1.0}
    given = list(model.stream(iter(frames), frames_per_second=RATE, **options))
    played = list(model.stream(str(path), **options))
    assert len(played) == 8
    assert [each.frame for each in given] == [each.frame for each in played]
    assert all(np.array_equal(one.scores, other.scores) for one, other in zip(given, played, strict=True))
    floats = list(model.stream(iter(frames / 255), frames_per_second=RATE, **options))
    assert all(np.array_equal(one.scores, other.scores) for one, other in zip(given, floats, strict=True))


def test_an_endless_stream_is_read_as_far_as_it_is_asked(model):
    read = itertools.count()
    frames = (noise(1, seed=next(read))[0] for _ in itertools.count())
    windows = model.stream(frames, every=4, window_seconds=0.5, frames_per_second=RATE)
    assert next(read) == 0
    assert [next(windows).frame, next(windows).frame] == [4, 8]
    assert next(read) == 10


def test_a_short_stream_has_one_prediction(model):
    frames = noise(3)
    (found,) = model.stream(frames, window_seconds=60.0)
    assert np.array_equal(found.scores, model.predict(frames).scores)
    assert list(model.stream(iter(()))) == []


def held(window, frames):
    """The largest number of frames that live while a stream is read: those of the source, and those of the window."""
    alive, most = [], 0

    def tracked():
        for picture in frames:
            frame = Tracked(picture.shape, picture.dtype)  # it owns its memory, so that views of it keep it alive
            frame[:] = picture
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    for seconds, frame in frames_of(tracked(), rate=RATE):
        window.add(seconds, frame)
        del frame
        most = max(most, sum(each() is not None for each in alive) + len(window.frames))
    return most


class Hoarder(SlidingWindow):
    """The broken twin: keeps each frame that came."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.all = []

    def add(self, seconds, frame_HWC):
        self.all.append(frame_HWC)
        super().add(seconds, frame_HWC)


def test_memory_is_that_of_the_window():
    frames = noise(60, size=(8, 8))
    assert held(SlidingWindow(1.0), frames) <= RATE + 2
    assert held(Hoarder(1.0), frames) > RATE + 2


def test_frames_are_kept_as_small_as_the_model_reads_them():
    window = SlidingWindow(1.0, short_side=32)
    window.add(0.0, noise(1, size=(480, 640))[0])
    assert window.frames[0].shape == (32, 43, 3)


def test_times_that_stand_still_do_not_fill_the_memory():
    window = SlidingWindow(0.5)
    frame = np.zeros((1, 1, 3), np.uint8)
    for _ in range(1000):
        window.add(3.0, frame)
    assert len(window.frames) == MAX_RATE / 2 + 1
    assert window.is_full


def test_whoever_writes_into_the_same_memory_changes_no_frame():
    frame, window = np.zeros((8, 8, 3), np.uint8), SlidingWindow(1.0)

    def camera():
        for number in range(5):
            frame[:] = number
            yield frame

    for seconds, each in frames_of(camera(), rate=RATE):
        window.add(seconds, each)
    assert [int(each.max()) for each in window.frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_how_often(every):
    frames = [(number / RATE, np.zeros((1, 1, 3), np.uint8)) for number in range(30)]
    seen = []

    def predict(window):
        seen.append(len(window))
        return side4video.Prediction("", (), scores=np.ones(1))

    found = list(predict_windows(frames, SlidingWindow(1.0), predict, every=every))
    assert [each.frame for each in found] == list(range(9, 30, every))
    assert set(seen) == {10}


# ---- cameras and addresses


def camera_of(path):
    """A camera whose pictures are those of a file."""
    return lambda device: av.open(str(path))


def test_a_camera_is_a_stream(video, monkeypatch):
    path, frames = video
    monkeypatch.setattr("side4video.inference.frame_source._device", lambda number, name: f"/dev/video{number}")
    found = list(frames_of(0, open_camera=camera_of(path)))
    assert [seconds for seconds, _ in found] == pytest.approx([number / RATE for number in range(45)])
    assert all(np.array_equal(frame, expected) for (_, frame), expected in zip(found, frames, strict=True))


def test_a_video_of_a_web_server_is_a_stream(video):
    path, frames = video
    handler = functools.partial(SimpleHTTPRequestHandler, directory=path.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = [frame for _, frame in frames_of(f"http://127.0.0.1:{server.server_port}/{path.name}")]
        server.shutdown()
    assert np.array_equal(np.stack(found), frames)


def test_a_camera_that_is_not_there():
    with pytest.raises(
        InputError, match=r"camera 99: there is no /dev/video99 · allowed: .* fix: check that it is plug"
    ):
        list(frames_of(99))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("no-such.mp4", "no-such.mp4: it cannot be opened: there is no such file"),
        ("http://127.0.0.1:9/a.mp4", "http://127.0.0.1:9/a.mp4: it cannot be opened: .*refused"),
        ("rtsp://127.0.0.1:9/a", "rtsp://127.0.0.1:9/a: it cannot be opened: .*refused"),
        ([np.zeros((4, 3, 8, 8), np.uint8)], r"frame 0: a frame of the shape \[4, 3, 8, 8\]"),
        ([np.zeros((3, 8, 8), np.uint8)], r"frame 0: a frame of the shape .* fix: move the channels"),
        ([np.zeros((8, 8, 3)), np.full((8, 8, 3), 7.0)], "frame 1: floats from 7 to 7"),
    ],
)
def test_what_is_no_stream(source, sentence):
    with pytest.raises(InputError, match=sentence):
        list(frames_of(source))


def test_a_playlist_is_refused(tmp_path):
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    with pytest.raises(InputError, match="an HLS playlist"):
        list(frames_of(tmp_path / "a.m3u8"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"every": 0}, "every: 0 · allowed: 1 or more"),
        ({"top": 0}, "top: 0 · allowed: 1 or more"),
        ({"window_seconds": 0.0}, "window_seconds: 0 · allowed: seconds, more than 0"),
        ({"frames_per_second": 0.0}, "frames_per_second: 0"),
    ],
)
def test_wrong_numbers_are_refused_at_once(model, options, sentence):
    with pytest.raises(InputError, match=sentence):
        model.stream([], **options)


def test_a_file_that_breaks_off(video, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video[0].read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.mp4: it cannot be opened"):
        list(frames_of(cut))


# ---- the command


def call(*arguments):
    return CliRunner().invoke(command.predict, [*map(str, arguments), "--device", "cpu"])


def test_the_command_prints_a_line_a_window(model, run, video):
    path, _ = video
    done = call(run.run_id, "--stream", path, "--every", 8)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    label, score = next(model.stream(path, every=8)).labels[0]
    assert lines[0] == f"    0.00 to 1.90 s  {label} {100 * score:.1f}%"
    assert "weights of epoch" in done.stderr
    documents = [json.loads(line) for line in call(run.run_id, "--stream", path, "--json").stdout.splitlines()]
    assert [each["end_seconds"] for each in documents] == [1.9, 2.7, 3.5, 4.3]
    assert documents[0]["labels"] == [[label, score]]


def test_the_command_takes_one_of_three(run):
    for wrong in ([], ["--camera", 0, "--stream", "a.mp4"], ["a.mp4", "--camera", 0]):
        done = call(run.run_id, *wrong)
        assert done.exit_code == 2
        assert "Give VIDEO..., or --camera, or --stream." in done.output


def test_the_command_s_defaults_are_those_of_python():
    defaults = {each.name: each.default for each in command.predict.params}
    assert (defaults["every"], defaults["window_seconds"]) == (sliding_window.EVERY, sliding_window.WINDOW_SECONDS)


def test_views_are_those_of_the_run(model):
    assert model.spec.data.views == tiny(data={"views": {"clips": 2, "crops": 3}}).data.views
