"""The order of clips that a run sees: which epochs of the data path are its own epochs.

The data path is a function of (seed, epoch, clip). A run alone sees its epochs 0, 1, 2, ... An arm that joins a pass
at the pass's epoch 3 sees 3, 4, 5, ...; if it is paused after two epochs and goes on at epoch 9, it sees 3, 4, 9, ...
"""

import itertools
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from side4video.core.bounds import FewOrNone


def _epochs_increase(epochs: Mapping[int, int]) -> Mapping[int, int]:
    """Own epochs from 0 on, and no epoch of the data path twice."""
    pairs = sorted(epochs.items())
    if not pairs or pairs[0][0] != 0:
        raise ValueError(
            f"{dict(epochs)} · allowed: a value for epoch 0, and more for later ones · fix: {{0: 3, 2: 9}}"
        )
    for (own, first), (next_own, next_first) in itertools.pairwise(pairs):
        if next_first - first < next_own - own:
            raise ValueError(
                f"{dict(pairs)}: epoch {next_own} would see epoch {next_first} of the order again · allowed: "
                f"{first + next_own - own} and more · fix: set it to {first + next_own - own}"
            )
    return dict(pairs)


FirstEpoch = FewOrNone | Annotated[Mapping[FewOrNone, FewOrNone], AfterValidator(_epochs_increase)]
"""One epoch, or that of each of the run's own epochs from which it goes on elsewhere."""


def epoch_of_order(first_epoch: int | Mapping[int, int], own_epoch: int) -> int:
    """The epoch of the data path that a run's own epoch sees; both are counted from 0."""
    if isinstance(first_epoch, int):
        return first_epoch + own_epoch
    start = max(own for own in first_epoch if own <= own_epoch)
    return first_epoch[start] + own_epoch - start


def with_pause(first_epoch: int | Mapping[int, int], own_epoch: int, epoch: int) -> int | dict[int, int]:
    """`first_epoch` of a run whose `own_epoch` sees `epoch` of the data path; earlier epochs stay."""
    if own_epoch and epoch_of_order(first_epoch, own_epoch) == epoch:
        return first_epoch if isinstance(first_epoch, int) else dict(first_epoch)
    if not own_epoch:
        return epoch
    before = {0: first_epoch} if isinstance(first_epoch, int) else dict(first_epoch)
    return {**before, own_epoch: epoch}
