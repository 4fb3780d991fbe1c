"""Whether the arms of a sweep can take the seats of one endless pass."""

from side4video.core.errors import InputError
from side4video.planning.packs import streams_of
from side4video.spec.arm import Sweep


def check_seats(sweep: Sweep) -> None:
    """Check that the arms of a sweep can take the seats of a pass.

    Raises:
        InputError: They cannot.
    """
    if not sweep.spec.has_seats:
        return
    if sweep.spec.uses_epoch_results and len(streams_of(sweep.arms)) > 1:
        raise InputError(
            f"{sweep.source}: packing",
            f"seats and a scheduler, and the arms read {len(streams_of(sweep.arms))} different streams of clips",
            allowed="arms with the same data, batch size and length, or packing: auto",
            fix="leave those fields out of the sweep",
        )
