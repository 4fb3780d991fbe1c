"""What a model says of a video: its most likely classes, from the scores of all of them.

Legend: C classes, of all heads one after the other where there are several; D channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 5
"""How many labels are named, unless a number or a threshold is given."""
MOST = 1000
"""How many labels are named at most where only a threshold is given."""
JOINT = ", "
"""Between the classes of an action."""

Labels = tuple[tuple[str, float], ...]
"""Names with their scores, best first."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of a video."""

    video: str
    """The path, as it was given; `array 3` for the frames that were given fourth."""
    labels: Labels
    """The most likely classes with their scores (averaged over views), best first; none where it is broken. Of several
    heads, the most likely actions: `take, cup`, with the product of the scores of their classes."""
    error: str = ""
    """Why it cannot be read; empty where it could."""
    is_video: bool = True
    """False where the file holds no video at all."""
    scores: "NDArray[np.float64] | None" = field(default=None, compare=False, repr=False)
    """The scores `[C]` of all classes, in the order of `Model.classes`; of several heads, those of one head after the
    other, in the order of `Model.heads`. Those of a head sum to 1, and those of recognition; each of several labels is
    a probability by itself. None where it is broken."""
    features: "NDArray[np.float32] | None" = field(default=None, compare=False, repr=False)
    """The network's features `[D]`, the mean over views, if they were asked for. None where it is broken."""
    head_labels: Mapping[str, Labels] = field(default_factory=dict)
    """The most likely classes of each head; empty without heads."""

    def as_json(self) -> dict[str, Any]:
        """The document that `side4video predict --json` prints."""
        document = {"video": self.video, "labels": self.labels, "error": self.error, "is_video": self.is_video}
        return document | ({"heads": dict(self.head_labels)} if self.head_labels else {})


@dataclass(frozen=True)
class LabelChoice:
    """Which labels are named: the first ones, those from a score on, or both."""

    top: int | None = None
    """How many at most; None: `TOP`, or with a threshold all, but no more than `MOST`."""
    threshold: float | None = None
    """The least score; None: any."""

    @property
    def most(self) -> int:
        """How many at most."""
        return self.top if self.top is not None else TOP if self.threshold is None else MOST

    def of_classes(self, scores_C: "NDArray[np.float64]", names: tuple[str, ...]) -> Labels:
        """The chosen classes; of equal scores the first class first."""
        order = (-scores_C).argsort(kind="stable")[: self.most]
        return self.reached(tuple((names[position], float(scores_C[position])) for position in order))

    def of_actions(self, scores_C: "NDArray[np.float64]", heads: Mapping[str, tuple[str, ...]]) -> Labels:
        """The chosen combinations of a class of each head, by the products of their scores."""
        # Of the best combinations, the parts without the last head are the best ones of the heads before it.
        places, products = np.zeros((1, 0), np.int64), np.ones(1)
        for part_C in split_scores(scores_C, heads):
            every = (products[:, None] * part_C).ravel()
            order = (-every).argsort(kind="stable")[: self.most]
            before, own = np.divmod(order, len(part_C))
            places, products = np.concatenate([places[before], own[:, None]], axis=1), every[order]
        names = list(heads.values())
        found = zip(places.tolist(), products.tolist(), strict=True)
        return self.reached(
            tuple((JOINT.join(names[head][place] for head, place in enumerate(each)), score) for each, score in found)
        )

    def of_heads(self, scores_C: "NDArray[np.float64]", heads: Mapping[str, tuple[str, ...]]) -> dict[str, Labels]:
        """The chosen classes of each head."""
        parts = split_scores(scores_C, heads)
        return {name: self.of_classes(part_C, heads[name]) for name, part_C in zip(heads, parts, strict=True)}

    def reached(self, labels: Labels) -> Labels:
        """Those of some labels that are chosen, which are in order."""
        found = labels[: self.most]
        return found if self.threshold is None else tuple(each for each in found if each[1] >= self.threshold)


def split_scores(scores_C: "NDArray[np.float64]", heads: Mapping[str, Sequence[str]]) -> "list[NDArray[np.float64]]":
    """The scores of each head."""
    return np.split(scores_C, np.cumsum([len(names) for names in heads.values()])[:-1])
