"""Pages of HTML: one file each, no script, no address of another machine."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from side4video.core.text import printable

LARGEST_SIDE = 224
"""Pixels of a frame on the page."""


QUALITY = 82


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5c5c5c; --line: #ddd; --paper: #fff; --mark: #0b6bcb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a8a8a8; --line: #3a3d42; --paper: #17191c; --mark: #6db3ff; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0.2rem 0 0.6rem; }
p, figcaption { color: var(--soft); font-size: 0.9rem; font-variant-numeric: tabular-nums; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(8.5rem, 30%), 1fr)); gap: 0.6rem; }
figure { margin: 0; }
figcaption { font-size: 0.8rem; }
img { display: block; width: 100%; height: auto; border-radius: 4px; }
.closest img { outline: 3px solid var(--mark); outline-offset: 1px; }
.closest figcaption { color: var(--mark); font-weight: 600; }
""".strip()


def page(title: str, body: str, *, style: str = "") -> str:
    """A whole page: title and heading, and what stands below it.

    Args:
        title: Any text.
        body: HTML.
        style: Rules beside those that all pages have.
    """
    title = escape(printable(title))
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{_STYLE}{style}\n</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f"{body}</main>\n</body>\n</html>\n"
    )


def film_strip(frames_THWC: np.ndarray, similarities_T: Sequence[float]) -> str:
    """The frames of a video side by side, each with its similarity, the most similar one marked."""
    closest = max(range(len(similarities_T)), key=lambda t: _number(similarities_T[t]))
    frames = "".join(
        _frame(
            frame_HWC,
            f"frame {t + 1} of {len(frames_THWC)}",
            similarity=similarities_T[t],
            is_closest=t == closest,
        )
        for t, frame_HWC in enumerate(frames_THWC)
    )
    return f"<div class='strip'>\n{frames}</div>\n"


def _frame(frame_HWC: np.ndarray, name: str, *, similarity: float, is_closest: bool) -> str:
    picture, width, height = _as_jpeg(frame_HWC)
    alternative = f"{name}, the most similar to the text" if is_closest else name
    return (
        f"<figure{' class=closest' if is_closest else ''}><img alt='{alternative}' width='{width}' height='{height}' "
        f"src='data:image/jpeg;base64,{base64.b64encode(picture).decode()}'>"
        f"<figcaption>{similarity:.3f}{' closest' if is_closest else ''}</figcaption></figure>\n"
    )


def _as_jpeg(frame_HWC: np.ndarray) -> tuple[bytes, int, int]:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(frame_HWC))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue(), picture.width, picture.height


def _number(similarity: float) -> float:
    return float("-inf") if math.isnan(similarity) else similarity


def write_page(page: str, path: Path) -> None:
    """Put the page where it is to stand, whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
