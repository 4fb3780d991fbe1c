"""Which arms of a sweep need not run: its own that ended, and others' results of the same experiments."""

from collections.abc import Sequence
from dataclasses import dataclass

from side4video.spec.arms import Arm
from side4video.tracking.journal import FINGERPRINT_TAG
from side4video.tracking.ledger import finished_runs
from side4video.tracking.search import StoredRun
from side4video.tracking.store import Store
from side4video.tracking.sweep_record import children_of, is_settled


@dataclass(frozen=True)
class Settled:
    """An arm that need not run, and why."""

    run: StoredRun
    is_own: bool
    """Whether the run is this sweep's; else its result is taken over."""


def settled_arms(store: Store, key: str, arms: Sequence[Arm], *, fingerprint: str) -> dict[str, Settled]:
    """Arms with a result: this sweep's own, or taken over from whoever ran the same experiment to its end."""
    own = {
        digest: run
        for digest, run in children_of(store, key).items()
        if is_settled(run) and run.tags.get(FINGERPRINT_TAG) == fingerprint
    }
    others = finished_runs(store, [arm.experiment for arm in arms if arm.key not in own], fingerprint=fingerprint)
    settled = {arm.key: Settled(own[arm.key], is_own=True) for arm in arms if arm.key in own}
    return settled | {digest: Settled(run, is_own=False) for digest, run in others.items()}
