"""Dividing one list into training and test without tearing a group apart."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from side4video.core.seeds import derive_seed
from side4video.data.clip import Clip
from side4video.data.storage import common_root, relative


def split_by_group(clips: Sequence[Clip], groups: Sequence[str], *, test_fraction: float, seed: int) -> list[bool]:
    """Say for each clip whether it is a test clip.

    Groups are visited in an order drawn from the seed; one goes to the test side if that brings the test side's
    class counts nearer to `test_fraction` of each class. So classes stay balanced as far as the groups allow, and
    adding a clip to one group moves few others.

    Args:
        clips: The clips.
        groups: The group of each clip.
        test_fraction: Share wanted for test, 0 to 1.
        seed: Any whole number.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    wanted = {label: count * test_fraction for label, count in Counter(clip.label for clip in clips).items()}
    missing = dict(wanted)
    is_test = [False] * len(clips)
    for group in sorted(members, key=lambda name: derive_seed(seed, "split", name)):
        counts = Counter(clips[position].label for position in members[group])
        gain = sum(abs(missing[label]) - abs(missing[label] - count) for label, count in counts.items())
        if gain > 0:
            for label, count in counts.items():
                missing[label] -= count
            for position in members[group]:
                is_test[position] = True
    return is_test


def training_subset(clips: Sequence[Clip], fraction: float, seed: int) -> list[int]:
    """Positions of the clips that a share of the training set keeps, in order.

    Class by class, rounded up; a smaller share is a subset of a larger one. The rank of a clip depends on its
    file and span only, so the forward and the backward sample of one clip stay together.
    """
    if fraction >= 1:
        return list(range(len(clips)))
    members: dict[int | None, list[int]] = defaultdict(list)
    for position, clip in enumerate(clips):
        members[clip.label].append(position)
    root = common_root([clip.path for clip in clips])  # the subset must not depend on where that is

    def rank(position: int) -> tuple[int, int]:
        clip = clips[position]
        span = (str(clip.start_seconds), str(clip.end_seconds))
        name = clip.name or relative(clip.path, root)
        return derive_seed(seed, "fraction", f"/{name}", *span), position

    kept = [
        position
        for positions in members.values()
        for position in sorted(positions, key=rank)[: math.ceil(len(positions) * fraction - 1e-9)]
    ]
    return sorted(kept)
