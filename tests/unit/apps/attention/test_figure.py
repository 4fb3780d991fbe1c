"""The picture and the film of attention maps, judged by their pixels."""

import av
import matplotlib.image
import numpy as np
import pytest

from side4video.apps.attention import figure as drawn
from side4video.apps.attention.figure import attention_figure, attention_film, overlay, resize
from side4video.reports.figures.style import FORMATS, save_figure

FRAMES = 5


def even_frames(size=32, frames=FRAMES):
    return np.full((frames, size, size, 3), 120, np.uint8)


def spot(row, column, frames=FRAMES, grid=4):
    """All attention on one patch, which walks to the right."""
    maps = np.zeros((frames, grid, grid), np.float32)
    for number in range(frames):
        maps[number, row, (column + number) % grid] = 1
    return maps


def brightest_patch(picture, grid=4):
    light = picture.astype(float).sum(-1)
    height, width = (side // grid for side in light.shape)
    patches = light[: height * grid, : width * grid].reshape(grid, height, grid, width).mean((1, 3))
    return np.unravel_index(patches.argmax(), patches.shape)


def test_bright_is_where_it_is_looked_at():
    maps = spot(1, 2)
    scale = drawn._scale(maps)
    assert brightest_patch(overlay(even_frames()[0], maps[0], scale)) == (1, 2)
    assert brightest_patch(overlay(even_frames()[0], maps[1], scale)) == (1, 3)


def test_one_is_an_even_spread_whatever_the_number_of_patches():
    for grid in (4, 16):
        scale = drawn._scale(np.full((2, grid, grid), 1 / grid**2, np.float32))
        assert scale.vmax == pytest.approx(1.0)


def test_one_patch_does_not_darken_the_rest():
    maps = np.full((8, 16, 16), 1 / 256, np.float32)
    maps[0, 0, 0] = 0.9
    assert drawn._scale(maps).vmax == pytest.approx(1.0)
    assert drawn._scale(np.zeros((2, 4, 4), np.float32)).vmax > 0


def test_small_frames_are_enlarged_pixel_by_pixel():
    frame = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    large = resize(frame)
    assert large.shape == (224, 224, 3)
    assert np.array_equal(large[::7, ::7], frame)
    assert resize(even_frames(size=336)[0]).shape == (336, 336, 3)


def test_the_picture_has_a_row_for_each_and_stays_inside(tmp_path):
    maps = {"CLIP": spot(0, 0), "side network": spot(3, 1)}
    figure = attention_figure(even_frames(), maps, title="a.mp4: left 99%", caption="What it is. " * 20)
    pictures = [
        axes.images[0].get_array() for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 3
    ]
    assert len(pictures) == 3 * FRAMES
    assert [brightest_patch(picture) for picture in pictures[FRAMES : FRAMES + 4]] == [(0, n) for n in range(4)]
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    whole = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text.get_text()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_is_the_same_bytes_each_time(kind, tmp_path):
    maps = {"CLIP": spot(0, 0), "side network": spot(3, 1)}
    written = []
    for name in "ab":
        figure = attention_figure(even_frames(), maps, title="a", caption="b")
        written.append(save_figure(figure, tmp_path / f"{name}.{kind}").read_bytes())
    assert written[0] == written[1]
    assert len(written[0]) > 1000
    if kind == "png":
        assert matplotlib.image.imread(tmp_path / "a.png").shape[1] > 600


def film_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return stream.codec_context.name, float(stream.average_rate), frames


@pytest.mark.parametrize(("seconds", "expected"), [(2.0, 16), (None, 20), (0.1, FRAMES), (10_000.0, 24)])
def test_the_film_lasts_as_long_as_the_video_and_shows_every_frame(seconds, expected, tmp_path):
    frames = even_frames()
    for number, frame in enumerate(frames):
        frame[:] = 40 * number + 20
    maps = {"CLIP": spot(0, 0), "side network": spot(3, 1)}
    path = attention_film(tmp_path / "a.mp4", frames, maps, title="a.mp4", seconds=seconds, max_seconds=3.0)
    codec, rate, shown = film_of(path)
    assert (codec, rate, len(shown)) == ("h264", 8.0, expected)
    height, width = shown[0].shape[:2]
    assert (height % 2, width % 2) == (0, 0)
    # The first panel is the frame itself: all are shown, in order, about equally long.
    levels = [int(picture[height // 2, width // 6].mean()) for picture in shown]
    seen = [min(range(FRAMES), key=lambda n: abs(level - (40 * n + 20))) for level in levels]
    assert seen == sorted(seen)
    assert max(map(seen.count, range(FRAMES))) - min(map(seen.count, range(FRAMES))) <= 1
    third = shown[0].shape[1] // 3
    assert np.array_equal(brightest_column(shown[0][:, third : 2 * third]), 0)


def brightest_column(panel):
    """Quarter of the panel in which it is brightest, below the captions."""
    light = panel[panel.shape[0] // 4 : -20, 20:-20].astype(float).sum(-1).mean(0)
    return int(light.argmax() * 4 / len(light))
