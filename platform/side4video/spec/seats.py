"""Whether the arms of a sweep may take the seats of a pass, as far as their documents say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from side4video.core.errors import InputError
from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from side4video.spec.arm import Arm


def check_can_take_seats(spec: SweepSpec, base: Experiment, rows: "Sequence[Arm]", source: str) -> None:
    """Check that the features are computed, and that no method changes the backbone.

    Raises:
        InputError: They cannot.
    """
    if not spec.has_seats:
        return
    if base.features.kind == "cached":
        raise InputError(
            f"{source}: packing",
            "seats, and features are cached: a pass over the cache has no backbone to share",
            allowed="features: {kind: computed}, or packing: auto",
            fix="remove one of the two",
        )
    alone = [row for row in rows if not row.experiment.method.packable]
    if alone:
        raise InputError(
            f"{source}: packing",
            f"seats, and the method of {alone[0].title} changes the backbone, which the others share",
            allowed="methods that only read frozen tokens (`side4video list methods`)",
            fix="leave the arm out, or set packing: auto",
        )
