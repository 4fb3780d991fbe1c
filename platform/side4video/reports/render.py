"""HTML pages, rendered with Jinja2 from the `templates` folder: one file each, no request to another machine."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from side4video.core.text import format_length, printable

if TYPE_CHECKING:
    import numpy as np

MAX_SIDE = 224
"""Pixels of the longer side of a frame."""
QUALITY = 82
"""JPEG quality of frames."""


@dataclass(frozen=True)
class StripFrame:
    """A frame of a film strip."""

    jpeg: bytes
    width: int
    height: int
    similarity: float
    is_nearest: bool
    """Whether it is the most similar frame of its video."""


def render(template: str, **values: Any) -> str:
    """Render a page.

    `template` is a file in the `templates` folder. All pages extend `base.html.j2`, which needs `title`. Strings are
    escaped; `markupsafe.Markup` is inserted as HTML.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("side4video.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Names of files may hold bytes that are not UTF-8. Markup is a subclass of str and stays as it is.
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
    )
    environment.filters |= {"data_uri": _data_uri, "format_length": format_length}
    environment.globals["strip_frames"] = strip_frames
    return environment


def strip_frames(frames_THWC: "np.ndarray", similarities_T: Sequence[float]) -> list[StripFrame]:
    """The frames of a video as JPEGs, with their similarities to a text."""
    scores = [float("-inf") if math.isnan(similarity) else similarity for similarity in similarities_T]
    closest = scores.index(max(scores))
    return [
        StripFrame(*_as_jpeg(frame_HWC), similarity, is_nearest=index == closest)
        for index, (frame_HWC, similarity) in enumerate(zip(frames_THWC, similarities_T, strict=True))
    ]


def _as_jpeg(frame_HWC: "np.ndarray") -> tuple[bytes, int, int]:
    from PIL import Image

    image = Image.fromarray(frame_HWC)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue(), image.width, image.height


def _data_uri(picture: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
