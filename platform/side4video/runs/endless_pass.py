"""The endless passes of a sweep with seats: which arms share one, its folder, its search, and its runs."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from side4video.arm_search.document import SearchDocument, fits_memory
from side4video.arm_search.records import LEFT, ArmRecord, arm_as_json, arm_from_json
from side4video.arm_search.search import ArmSearch, Request
from side4video.arm_search.shared_search import SharedSearch
from side4video.data.annotations.splits import training_subset
from side4video.planning.packs import Planner, streams_of
from side4video.runs.pass_logger import PassLogger, read_seats
from side4video.runs.shared_logger import SharedPassLogger
from side4video.spec.arm import Arm, Sweep
from side4video.spec.experiment import Experiment
from side4video.tracking.run_store import RunStore
from side4video.tracking.sweep_logger import SweepLogger
from side4video.tracking.tags import REQUEST_TAG


class MeetingPlace(Protocol):
    """Where sweeps that share a pass meet (`runs.shared_pass.SharedPass`)."""

    store: RunStore
    member: str
    """Id of the run of this command's sweep."""

    def news(self) -> list[dict[str, Any]]:
        """All sweeps that have asked for seats, for `SharedSearch.news`."""
        ...


@dataclass(frozen=True)
class EndlessPass:
    """One pass: arms that share a stream of clips."""

    base: Experiment
    """An experiment whose data, batches and evaluation are those of all its arms."""
    arms: tuple[Arm, ...]
    """Arms that wait from the start; none if Optuna proposes them."""
    folder: str
    """Of its checkpoints."""
    sweep: Sweep
    epochs: int
    """Epochs of an arm that is trained to its end."""
    clips: int
    """Training clips of an epoch."""
    shared: MeetingPlace | None = None
    """Where sweeps that share this pass meet."""

    @property
    def pass_id(self) -> str:
        """Last part of the folder's name."""
        return self.folder.rpartition("/")[2]

    def search(
        self,
        planner: Planner,
        *,
        requests: Callable[[], Sequence[Request]],
        deadline: float | None = None,
    ) -> ArmSearch | SharedSearch:
        """Who takes its seats. After `deadline` of the monotonic clock nobody joins."""
        spec = self.sweep.spec
        if self.shared:
            return SharedSearch(spec.seats, self.shared.member, self.shared.news)
        return ArmSearch(
            self.sweep,
            self.arms,
            spec.seats,
            self.epochs,
            fits=fits_memory(planner, spec.limits.memory_gib),
            requests=requests,
            is_closed=lambda: deadline is not None and time.monotonic() > deadline,
        )

    def document(self, classes: int) -> SearchDocument:
        """Who takes its seats, for another process."""
        return SearchDocument(
            sweep=self.sweep.spec.model_dump(mode="json", exclude_unset=True),
            base=dict(self.sweep.base),
            source=self.sweep.source,
            arms=[arm_as_json(arm) for arm in self.arms],
            epochs=self.epochs,
            classes=classes,
        )

    def logger(self, sweep_logger: SweepLogger, *, fingerprint: str, classes: int) -> PassLogger | SharedPassLogger:
        """The log of its arms' runs."""
        if self.shared:
            return SharedPassLogger(self.shared.store, self.shared.member, self.folder, classes)
        return PassLogger(
            sweep_logger, fingerprint, classes, self.folder, others=self.sweep.arms, clips_per_epoch=self.clips
        )


def passes_of(sweep: Sweep, *, done: Collection[str], folder: str, fingerprint: str) -> list[EndlessPass]:
    """The passes of a sweep with seats, one after another; usually it is one.

    Args:
        sweep: The sweep.
        done: Keys of arms that have a result.
        folder: For the folders of checkpoints.
        fingerprint: Of the data.

    Raises:
        InputError: Arms cannot share a pass, and a scheduler or Optuna is to compare them while they train.
    """
    groups = streams_of(sweep.arms) if sweep.rows else [[]]
    found = []
    for group in groups:
        base = group[0].experiment if group else sweep.base_experiment
        shared = json.dumps([base.shared(), fingerprint], sort_keys=True)
        name = f"pass-{hashlib.sha256(shared.encode()).hexdigest()[:12]}"
        waiting = tuple(arm for arm in group if arm.key not in done)
        epochs, used = _length(base)
        found.append(EndlessPass(base, waiting, f"{folder}/{name}", sweep, epochs, used))
    return found


def _length(base: Experiment) -> tuple[int, int]:
    """Epochs of an arm that is trained to its end, where a part of one counts as one; and clips of an epoch."""
    data, batch_size = base.data, base.optimization.batch_size
    clips = training_subset(data.listed.clips("train"), data.train_fraction, data.seed)
    per_epoch = max(1, len(clips) // batch_size)
    return ceil(max(1, base.optimization.length.in_steps(per_epoch)) / per_epoch), per_epoch * batch_size


def store_requests(store: RunStore, parent: str) -> Callable[[], list[Request]]:
    """Reads the requests that were stored with a sweep's run (`side4video sweeps add`), oldest first."""

    def read() -> list[Request]:
        tags = store.get(parent).tags
        return [
            {"id": name.removeprefix(REQUEST_TAG), **json.loads(text)}
            for name, text in sorted(tags.items())
            if name.startswith(REQUEST_TAG)
        ]

    return read


def records_of(store: RunStore, parent: str) -> list[ArmRecord]:
    """The arms of all passes of a sweep."""
    return [ArmRecord.from_json(each) for state in read_seats(store, parent).values() for each in state["records"]]


def arms_of(records: Sequence[ArmRecord]) -> tuple[Arm, ...]:
    """The arms of a search, in the order in which they came."""
    return tuple(arm_from_json(record.arm) for record in records)


def is_over(store: RunStore, endless: EndlessPass, parent: str) -> bool:
    """Whether a pass has ended: each of its arms has, and no other one would come."""
    empty: dict[str, Any] = {"records": [], "proposals": [], "taken": []}
    state = read_seats(store, parent).get(endless.pass_id, empty)
    known = {ArmRecord.from_json(each).short_key for each in state["records"]}
    optuna = endless.sweep.spec.optuna
    is_proposed = optuna is None or len(state["proposals"]) >= optuna.arms
    has_all = all(arm.short_key in known for arm in endless.arms)
    has_requests = any(request["id"] not in state["taken"] for request in store_requests(store, parent)())
    return is_proposed and has_all and not has_requests and all(each["state"] in LEFT for each in state["records"])
