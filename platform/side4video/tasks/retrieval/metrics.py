"""The metrics of text-video retrieval: recall at 1, 5 and 10, median and mean rank, in both directions.

A new metric is one more entry of `_OF_RANKS`: records, tables, figures and sweeps read `METRICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from side4video.core.metric import MetricSpec

if TYPE_CHECKING:  # documents read this list, and are to be read in a moment
    import numpy as np
    from numpy.typing import NDArray

    Ranks = NDArray[np.int64]


@dataclass(frozen=True)
class RankPair:
    """What the metrics are computed from: 0-based ranks of the right match."""

    texts_N: "Ranks"
    """Of the right video, for each text (`t2v`)."""
    videos_V: "Ranks"
    """Of the best of its texts, for each video (`v2t`)."""


def _median(ranks: "Ranks") -> float:
    import numpy as np

    return float(np.median(ranks))


_DIRECTIONS = {"t2v": "text to video", "v2t": "video to text"}
_OF_RANKS: dict[str, tuple[str, Callable[["Ranks"], float]]] = {
    "r1": ("R@1", lambda ranks: float((ranks < 1).mean())),
    "r5": ("R@5", lambda ranks: float((ranks < 5).mean())),
    "r10": ("R@10", lambda ranks: float((ranks < 10).mean())),
    "median_rank": ("median rank", lambda ranks: _median(ranks) + 1),
    "mean_rank": ("mean rank", lambda ranks: float(ranks.mean() + 1)),
}
"""Name in a metric's name, title, and value; ranks are printed from 1."""


def _metric(direction: str, name: str) -> MetricSpec:
    title, value = _OF_RANKS[name]
    is_rank = name.endswith("_rank")

    def compute(found: RankPair) -> float:
        return value(found.texts_N if direction == "t2v" else found.videos_V)

    return MetricSpec(
        f"{direction}_{name}",
        f"{_DIRECTIONS[direction]} {title}",
        compute,
        heading="" if name == "r1" else title,  # the others stand behind it
        better="min" if is_rank else "max",
        unit="" if is_rank else "%",
        in_summary=name in ("r1", "r5"),
    )


METRICS = tuple(_metric(direction, name) for direction in _DIRECTIONS for name in _OF_RANKS)
"""The first one selects the best epoch."""


def retrieval_metrics(texts_N: "Ranks", videos_V: "Ranks", extra: tuple[MetricSpec, ...] = ()) -> dict[str, float]:
    """Each metric by name, those of plug-ins (`extra`) too; NaN for a direction without queries.

    The arguments are those of `RankPair`.
    """
    found = RankPair(texts_N, videos_V)
    is_known = {"t2v": len(texts_N) > 0, "v2t": len(videos_V) > 0}
    own = {
        each.name: each.compute(found) if is_known[each.name.partition("_")[0]] else float("nan") for each in METRICS
    }
    return own | {each.name: each.value(found) if all(is_known.values()) else float("nan") for each in extra}
