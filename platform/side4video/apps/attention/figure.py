"""Where the frozen tower and the side network look in a video: the paper's Figure 6, as a picture and as a film.

Attention is shown in multiples of an even spread: 1 is what a patch would get if all patches got the same. A frame is
dark where less is looked at and bright where more is, in a scale of each network's own, the same in all frames of a
video; its upper end is the 99th percentile of the network's patches, so that a single patch does not darken the rest.

Arrays carry shape suffixes: T frames, H W pixels, C channels, G patches along a side.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from side4video.data.motion_render import FRAMES_PER_SECOND, write_video
from side4video.reports.figures.style import DPI, INK, SOFT, TEXT, new_figure, shorten, wrap_text

COLOURS = "inferno"
"""Even in lightness, so it reads in grey and by the colour-blind."""
PERCENTILE = 99.0
MAX_FILM_SECONDS = 30.0
"""Of a film."""
NOTE_COLOUR = "#5c5c5c"
MIN_PIXELS = 224
"""Of a frame's side: smaller ones are enlarged, pixel by pixel, so that the map over them is smooth."""
FRAME_INCHES = (0.75, 1.6)
"""Of a frame in a row of the picture, the smallest and the largest."""
PANEL_INCHES = 2.4
"""Of a frame in the film."""
Maps = Mapping[str, NDArray[np.float32]]
"""Shares of the attention [T, G, G], by the name of the network."""


def attention_figure(
    frames_THWC: NDArray[np.uint8], maps: Maps, *, title: str, caption: str, width: float = 8.0
) -> Figure:
    """Rows: the frames, and each network's map over them; columns: the frames of the video.

    `maps` are by name, in the order of the rows; `caption` says below the picture what they are. `width` is in inches.
    """
    frames = len(frames_THWC)
    side = float(np.clip((width - 1.75) / frames, *FRAME_INCHES))
    left, right, above, gap = 1.0, 0.75, 0.5, 0.05
    lines = wrap_text(caption, inches=left + frames * side + right - 0.2, points=TEXT - 2)
    below = 0.12 + 0.145 * len(lines)
    rows = 1 + len(maps)
    size = (left + frames * side + right, above + rows * side + below)
    figure = new_figure(*size)
    figure.text(0.1 / size[0], 1 - 0.17 / size[1], shorten(title, 110), color=INK, fontsize=TEXT + 1, va="center")
    scales = {name: _scale(map_TGG) for name, map_TGG in maps.items()}

    def place(row: int, column: float, *, wide: float = side) -> Any:
        bottom = size[1] - above - (row + 1) * side + gap
        box = ((left + column) / size[0], bottom / size[1], wide / size[0], (side - gap) / size[1])
        axes = figure.add_axes(box)
        axes.set_axis_off()
        return axes

    for row, name in enumerate(("frames", *maps)):
        middle = (size[1] - above - (row + 0.5) * side) / size[1]
        figure.text((left - 0.1) / size[0], middle, name, color=INK, fontsize=TEXT, ha="right", va="center")
        for column, frame_HWC in enumerate(frames_THWC):
            axes = place(row, column * side, wide=side - gap)
            axes.imshow(resize(frame_HWC) if row == 0 else overlay(frame_HWC, maps[name][column], scales[name]))
            if row == 0:
                axes.set_title(str(column + 1), fontsize=TEXT - 1, color=SOFT, pad=3)
        if row:
            _colour_bar(figure, place(row, frames * side + 0.1, wide=0.09), scales[name], is_first=row == 1)
    for number, line in enumerate(lines):
        figure.text(
            0.1 / size[0], (below - 0.17 - 0.145 * number) / size[1], line, color=NOTE_COLOUR, fontsize=TEXT - 2
        )
    return figure


def overlay(frame_HWC: NDArray[np.uint8], map_GG: NDArray[np.float32], scale: Normalize) -> NDArray[np.uint8]:
    """A grey frame under the colours of its map, `resize`; between the middles of patches it is interpolated."""
    from PIL import Image

    frame_HWC = resize(frame_HWC)
    height, width = frame_HWC.shape[:2]
    # An even spread is 1, whatever the number of patches.
    small = Image.fromarray(np.asarray(map_GG, np.float32) * map_GG.size)
    heat_HW = np.clip(scale(np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))), 0, 1)
    grey_HW = frame_HWC @ np.array([0.299, 0.587, 0.114]) / 255
    colour_HWC = colormaps[COLOURS](np.asarray(heat_HW))[..., :3]
    strength_HW1 = (0.35 + 0.45 * np.asarray(heat_HW))[..., None]
    mixed_HWC = (1 - strength_HW1) * grey_HW[..., None] + strength_HW1 * colour_HWC
    return np.rint(255 * mixed_HWC).astype(np.uint8)


def resize(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with so many copies of each pixel that it has at least `MIN_PIXELS` a side."""
    times = -(-MIN_PIXELS // min(frame_HWC.shape[:2]))
    return frame_HWC.repeat(times, axis=0).repeat(times, axis=1)


def attention_film(
    path: Path,
    frames_THWC: NDArray[np.uint8],
    maps: Maps,
    *,
    title: str,
    seconds: float | None,
    max_seconds: float = MAX_FILM_SECONDS,
) -> Path:
    """Write the frames and the maps side by side as an MP4 (H.264); returns its path.

    It lasts as long as the video, up to `max_seconds`; each frame that the networks see is shown until the next. `maps`
    are by name, in the order of the panels. If `seconds`, the duration of the video, is None, each frame takes half a
    second. The film lasts `max_seconds` at most.
    """
    frames = len(frames_THWC)
    lasting = min(max_seconds, seconds or frames / 2)
    shown = np.arange(max(frames, round(lasting * FRAMES_PER_SECOND)))
    scales = {name: _scale(map_TGG) for name, map_TGG in maps.items()}
    drawn = []
    for number, frame_HWC in enumerate(frames_THWC):
        panels = {"frame": resize(frame_HWC)}
        panels |= {name: overlay(frame_HWC, map_TGG[number], scales[name]) for name, map_TGG in maps.items()}
        drawn.append(_panels(panels, title=title, place=f"{number + 1} of {frames}"))
    write_video(path, np.stack(drawn)[shown * frames // len(shown)])
    return path


def _panels(panels: Mapping[str, NDArray[np.uint8]], *, title: str, place: str) -> NDArray[np.uint8]:
    """One picture of the film, [H, W, 3], with an even number of rows and columns, as H.264 wants them."""
    gap, above = 0.12, 0.62
    size = (gap + len(panels) * (PANEL_INCHES + gap), above + PANEL_INCHES + gap)
    figure = new_figure(*size)
    figure.set_facecolor("white")
    figure.text(gap / size[0], 1 - 0.2 / size[1], shorten(title, 70), color=INK, fontsize=TEXT + 1, va="center")
    figure.text(1 - gap / size[0], 1 - 0.2 / size[1], place, color=SOFT, fontsize=TEXT, va="center", ha="right")
    for column, (name, picture_HWC) in enumerate(panels.items()):
        left = gap + column * (PANEL_INCHES + gap)
        axes = figure.add_axes((left / size[0], gap / size[1], PANEL_INCHES / size[0], PANEL_INCHES / size[1]))
        axes.imshow(picture_HWC)
        axes.set_axis_off()
        figure.text(left / size[0], 1 - 0.49 / size[1], name, color=INK, fontsize=TEXT, va="center")
    figure.set_dpi(DPI)
    canvas: Any = figure.canvas
    canvas.draw()
    pixels_HWC = np.asarray(canvas.buffer_rgba())[..., :3]
    height, width = (length // 2 * 2 for length in pixels_HWC.shape[:2])
    return np.ascontiguousarray(pixels_HWC[:height, :width])


def _scale(map_TGG: NDArray[np.float32]) -> Normalize:
    """From nothing to the 99th percentile, in multiples of an even spread."""
    top = float(np.percentile(map_TGG, PERCENTILE)) * map_TGG[0].size
    return Normalize(0.0, max(top, np.finfo(np.float32).tiny))


def _colour_bar(figure: Figure, axes: Any, scale: Normalize, *, is_first: bool) -> None:
    axes.set_axis_on()
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), cax=axes, extend="max", extendfrac=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=TEXT - 2, length=2, color=SOFT, labelcolor=INK)
    bar.ax.locator_params(nbins=4)
    if is_first:
        bar.ax.set_title("× even", fontsize=TEXT - 2, color=SOFT, pad=5, loc="left")
