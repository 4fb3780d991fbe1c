"""The order of clips that a run sees: which epochs of the data path are its own epochs.

The data path is a function of (seed, epoch, clip). A run alone sees its epochs 0, 1, 2, ... An arm that joins a pass
at the pass's epoch 3 sees 3, 4, 5, ...; if it is paused after two epochs and goes on at epoch 9, it sees 3, 4, 9, ...
"""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from side4video.core.bounds import FewOrNone


def _read(value: Any) -> Any:
    """A number or a list, with one error though the field may be either; no epoch of the data path comes twice."""
    epochs = list(value) if isinstance(value, (list, tuple)) else [value]
    if not epochs or any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in epochs):
        raise ValueError(f"{value!r} · allowed: a number from 0 on, or a list of such · fix: first_epoch: 3")
    for before, after in itertools.pairwise(epochs):
        if after <= before:
            raise ValueError(
                f"{list(epochs)}: {after} comes after {before} · allowed: numbers that increase · fix: [3, 4, 9], say"
            )
    return value


FirstEpoch = Annotated[FewOrNone | Annotated[tuple[FewOrNone, ...], Field(min_length=1)], BeforeValidator(_read)]
"""The epoch that the run's first epoch sees, or those of several; the run goes on with the one after the last."""


def epoch_of_order(first_epoch: int | Sequence[int], own_epoch: int) -> int:
    """The epoch of the data path that a run's own epoch sees; both are counted from 0."""
    epochs = (first_epoch,) if isinstance(first_epoch, int) else first_epoch
    last = len(epochs) - 1
    return epochs[own_epoch] if own_epoch <= last else epochs[last] + own_epoch - last


def shortest_first_epoch(epochs: Sequence[int]) -> int | tuple[int, ...]:
    """`first_epoch` of a run that has seen these epochs: without the end that is as it would be anyway."""
    kept = list(epochs) or [0]
    while len(kept) > 1 and kept[-1] == kept[-2] + 1:
        kept.pop()
    return kept[0] if len(kept) == 1 else tuple(kept)
