"""Bar charts as SVG that stands in a page and takes the page's colours, in the light and in the dark."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from side4video.apps.data_check.report import Counts, Histogram
from side4video.core.units import format_bytes
from side4video.data.clip import SPLITS

STYLE = """
svg { display: block; width: 100%; height: auto; max-width: 760px; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .train { fill: var(--train); } svg .test { fill: var(--test); }
svg line { stroke: var(--line); }
""".strip()
WIDTH, HEIGHT, FOOT, SIDE = 760, 200, 22, 44
"""Pixels of the whole, of the foot under the bars, and of the margin left of them."""
_HEAD = 8
_LABELS = 8
_WIDEST = 90
"""Pixels of a bar, at most."""
_LETTERS = 15
"""Of a name under such a bar."""

Bar = tuple[str, Mapping[str, int]]
"""What it counts, in words, and how many of each split."""


def histogram_chart(histogram: Histogram, title: str) -> str:
    """The chart of a histogram, a bar between two edges."""
    edges = [value_text(edge, histogram.unit) for edge in histogram.edges]
    whole = _is_counting(histogram)
    names = [f"{low + 0.5:g}" for low in histogram.edges[:-1]] if whole else [f"{a} to {b}" for a, b in pairwise(edges)]
    bars = [
        (name, {split: histogram.counts[split][place] for split in histogram.counts})
        for place, name in enumerate(names)
    ]
    step = max(1, len(bars) // _LABELS)
    if whole:
        marks = [(place + 0.5, names[place]) for place in range(0, len(bars), step)]
    else:
        marks = [(place, edges[place]) for place in range(0, len(edges), step)]
    return _chart(bars, title, [(place / len(bars), text) for place, text in marks])


def count_chart(counts: Counts, title: str) -> str:
    """A bar for each name, the most frequent first; a pointer on a bar shows its name."""
    bars = sorted(counts.items(), key=lambda each: -sum(each[1].values()))
    if len(bars) > _LABELS:
        return _chart(bars, title, [(0.0, "most frequent"), (1.0, "least")])
    short = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name, _ in bars]
    return _chart(bars, title, [((place + 0.5) / len(bars), name) for place, name in enumerate(short)])


def value_text(value: float, unit: str) -> str:
    """A value as it is read beside an axis."""
    return format_bytes(value) if unit == "bytes" else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _is_counting(histogram: Histogram) -> bool:
    """Whether each bar is one whole number."""
    return all(abs(high - low - 1) < 1e-6 and low % 1 == 0.5 for low, high in pairwise(histogram.edges))


def _chart(bars: Sequence[Bar], title: str, marks: Sequence[tuple[float, str]]) -> str:
    """Bars on top of each other, training below; marks have a place from 0 to 1."""
    highest = max(1, *(sum(counts.values()) for _, counts in bars))
    room, floor = WIDTH - SIDE, HEIGHT - FOOT
    step = min(_WIDEST, room / len(bars))
    gap = min(2.0, 0.15 * step)
    scale = (floor - _HEAD) / highest
    shapes = [
        f"<line x1='{SIDE}' x2='{WIDTH}' y1='{y:.1f}' y2='{y:.1f}'/>"
        f"<text x='{SIDE - 6}' y='{y + 4:.1f}' text-anchor='end'>{text}</text>"
        for y, text in ((floor, "0"), (_HEAD, f"{highest:,}"))
    ]
    for place, (name, counts) in enumerate(bars):
        y, rects = float(floor), ""
        for split in SPLITS:
            height = counts.get(split, 0) * scale
            y -= height
            if height:
                x, width = SIDE + place * step + gap / 2, max(0.3, step - gap)
                rects += f"<rect class='{split}' x='{x:.2f}' y='{y:.2f}' width='{width:.2f}' height='{height:.2f}'/>"
        told = ", ".join(f"{counts.get(split, 0)} {split}" for split in SPLITS)
        shapes.append(f"<g><title>{escape(name)}: {told}</title>{rects}</g>")
    for place, text in marks:
        anchor = "start" if place == 0 else "end" if place == 1 else "middle"
        x = SIDE + place * step * len(bars)
        shapes.append(f"<text x='{x:.1f}' y='{HEIGHT - 6}' text-anchor='{anchor}'>{escape(text)}</text>")
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{escape(title, quote=True)}'>"
        f"{''.join(shapes)}</svg>\n"
    )
