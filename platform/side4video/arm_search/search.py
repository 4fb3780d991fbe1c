"""Who takes a seat next: the queue of a sweep, Optuna, promotions of paused arms, and requests from outside.

A search runs beside the first worker and is asked between two epochs of the pass. All seats reach that point together,
so its decisions are a function of the document and of the results recorded so far: a pass that was killed decides the
same again. Only requests from outside depend on when they come; once taken, they are part of the record.
"""

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from side4video.arm_search.halving import Halving, expected_epochs, rung_epochs
from side4video.arm_search.median import worse_than_median
from side4video.arm_search.proposals import Outcome, Proposal, propose
from side4video.arm_search.records import LEFT, ArmRecord, Stay, arm_as_json, title_of
from side4video.core.errors import InputError
from side4video.engine.arm_source import ArmResult, Changes, Joining
from side4video.spec.arm import Arm, Sweep, merge_duplicates
from side4video.spec.experiment import Experiment
from side4video.spec.load import parse_experiment
from side4video.spec.sweep import AshaScheduler, MedianScheduler
from side4video.tasks.metrics import epoch_metric

Request = Mapping[str, Any]
"""`id`, and either `add` (`label` and `overrides` of an arm) or `stop` (the name or the title of one)."""


@dataclass
class _Boundary:
    """What is decided between two epochs."""

    epoch: int
    stopped: list[str] = field(default_factory=list)
    resting: list[str] = field(default_factory=list)
    """Arms that have reached a rung and are not promoted."""
    joining: list[ArmRecord] = field(default_factory=list)


def no_requests() -> Sequence[Request]:
    """Nobody asks for anything."""
    return ()


def fits_always(experiments: Sequence[Experiment]) -> bool:  # noqa: ARG001 - a function of this form
    """Memory has no limit."""
    return True


def never() -> bool:
    """There is no limit of time."""
    return False


@dataclass
class ArmSearch:
    """The decisions of a sweep on one pass (`engine.arm_source.ArmSource`)."""

    sweep: Sweep
    """Its rows are not read: the arms that wait are given."""
    waiting: Sequence[Arm]
    """Arms that wait from the start, in their order; none with Optuna."""
    seats: int
    epochs: int
    """Epochs of an arm that is trained to its end."""
    fits: Callable[[Sequence[Experiment]], bool] = fits_always
    """Whether experiments fit into memory at the same time."""
    requests: Callable[[], Sequence[Request]] = no_requests
    """Requests from outside that came since the last call, or all that ever came: known ones are passed over."""
    is_closed: Callable[[], bool] = never
    """Whether nobody joins any more: those in seats go on to their end."""
    prefix: str = ""
    """Start of its arms' names, which are unique on a pass that several searches share."""
    records: dict[str, ArmRecord] = field(default_factory=dict)
    """Of all arms so far, in the order in which they were proposed."""
    proposals: list[Proposal] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    """Ids of requests that were taken."""
    refused: list[dict[str, str]] = field(default_factory=list)
    _shown: dict[str, str] = field(default_factory=dict)
    """Proposals that are no experiment, and why."""

    def __post_init__(self) -> None:
        """Nobody sits yet."""
        spec = self.sweep.spec
        self._halving: Halving | None = None
        if isinstance(spec.scheduler, AshaScheduler):
            grace, reduction = spec.scheduler.grace_epochs, spec.scheduler.reduction
            rungs = rung_epochs(grace=grace, reduction=reduction, epochs=self.epochs)
            self._halving = Halving(rungs, reduction, spec.mode)
        self._boundary = _Boundary(0)
        for arm in self.waiting:
            self._add(arm)

    # ---- ArmSource

    def advance(self, epoch: int, results: Mapping[str, ArmResult]) -> Changes:
        """See `ArmSource`: take the results, then requests, then the scheduler's view, then fill the seats."""
        self.begin(epoch, results)
        return self._fill()

    def fail(self, name: str, reason: str) -> Changes:
        """See `ArmSource`."""
        self.begin(self.note_failure(name, reason))
        return self._fill()

    def _fill(self) -> Changes:
        while len(self.training) < self.seats and self.seat_next():
            pass
        self.leave()
        return self.join()

    # ---- a boundary in parts, for several searches on one pass

    def begin(self, epoch: int, results: Mapping[str, ArmResult] | None = None) -> None:
        """Take results and requests, and let the scheduler decide. Without results, nothing has happened."""
        self._boundary = _Boundary(epoch)
        if results is None:
            return
        for name in sorted(results, key=lambda each: self._seat_of(each)):
            self._take_result(name, results[name], epoch)
        self._boundary.stopped += self._take_requests(epoch)
        self._boundary.stopped += self._stop_by_median(epoch)
        self._boundary.resting += self._at_rungs(results)

    @property
    def training(self) -> list[str]:
        """Arms that train in the next epoch, as far as it is decided."""
        return [name for name in self._seated() if name not in self._boundary.resting]

    def seat_next(self, others: Sequence[Experiment] = ()) -> bool:
        """Give a seat to the arm whose turn it is; returns whether there was one, and room beside the `others`."""
        resting = self._boundary.resting
        if self.is_closed() or (record := self._next_job(resting)) is None:
            return False
        if record.name in resting:
            resting.remove(record.name)
            return True
        beside = [*others, *(self.experiment(name) for name in self.training)]
        if beside and not self.fits([*beside, self.experiment(record.name)]):
            self._give_back(record)
            return False
        self._boundary.joining.append(record)
        record.state = "training"
        return True

    def leave(self) -> None:
        """Pause the arms that have reached a rung and do not go on now."""
        for name in self._boundary.resting:
            self._leave(self.records[name], "paused", self._boundary.epoch)

    def join(self, taken: Collection[int] = ()) -> Changes:
        """Number the seats of the arms that join, without those that others have `taken`; returns all that changed."""
        boundary = self._boundary
        used = {*taken, *(record.seat for record in self.records.values())}
        free = (number for number in range(self.seats) if number not in used)
        for record in boundary.joining:
            record.stays.append(Stay(next(free), boundary.epoch))
        ended = list(boundary.stopped)
        if not self._seated() and not self.is_closed():
            ended += self._end_search(boundary.epoch)
        return Changes(list(boundary.resting), ended, [self._as_joining(record) for record in boundary.joining])

    def note_failure(self, name: str, reason: str) -> int:
        """An arm that was to join could not be built; returns the epoch of the pass."""
        record = self.records[name]
        epoch = record.stays.pop().first
        record.state, record.reason = "failed", reason
        if self._halving:
            self._halving.forget(name)
        return epoch

    def shown(self) -> dict[str, Any]:
        """See `ArmSource`."""
        changed = {name: each for name, each in self.records.items() if self._shown.get(name) != each.state}
        self._shown |= {name: each.state for name, each in changed.items()}
        told = {name: each for name, each in changed.items() if each.state != "waiting"}
        return {
            "seated": self._seated(),
            "labels": {name: title_of(each) for name, each in told.items()},
            "states": {name: each.state for name, each in told.items()},
            "waiting": sum(each.state == "waiting" for each in self.records.values()) + self.to_propose,
        }

    def epochs_left(self) -> int:
        """See `ArmSource`."""
        work, longest = self.work_left()
        return max(math.ceil(work / self.seats), math.ceil(longest))

    def work_left(self) -> tuple[float, float]:
        """Epochs that its arms will still train, all together and the longest of those in seats.

        Arms that wait count as long as the scheduler lets an arm train on average.
        """
        scheduler = self.sweep.spec.scheduler
        mean = float(self.epochs)
        if isinstance(scheduler, AshaScheduler):
            mean = expected_epochs(grace=scheduler.grace_epochs, reduction=scheduler.reduction, epochs=self.epochs)
        seated = [self.epochs - each.epochs for each in self.records.values() if each.state == "training"]
        waiting = sum(each.state == "waiting" for each in self.records.values()) + self.to_propose
        ahead = [max(1.0, min(left, mean)) if self._halving else float(left) for left in seated]
        return sum(ahead) + waiting * mean, max(ahead, default=0.0)

    def state(self) -> dict[str, Any]:
        """See `ArmSource`."""
        return {
            "seats": self.seats,
            "epochs": self.epochs,
            "records": [each.as_json() for each in self.records.values()],
            "proposals": [asdict(each) for each in self.proposals],
            "taken": list(self.taken),
            "refused": list(self.refused),
            "to_propose": self.to_propose,
            "halving": self._halving.state() if self._halving else {},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `ArmSource`."""
        self.records = {each["name"]: ArmRecord.from_json(each) for each in state["records"]}
        self.proposals = [Proposal(**each) for each in state["proposals"]]
        self.taken, self.refused = list(state["taken"]), list(state["refused"])
        if self._halving:
            self._halving.restore(state["halving"])
        for arm in self.waiting:
            self._add(arm)  # of an edited sweep

    # ---- what happened

    def _take_result(self, name: str, result: ArmResult, epoch: int) -> None:
        record = self.records[name]
        record.epochs = result.epochs
        if result.metrics:
            key = epoch_metric(self.sweep.spec.metric, result.metrics)
            record.values[str(result.epochs)] = float(result.metrics.get(key, math.nan))
        if result.state != "training":
            self._leave(record, result.state, epoch)  # type: ignore[arg-type]
            record.reason = result.reason

    def _leave(
        self,
        record: ArmRecord,
        state: Literal["paused", "finished", "ended", "stopped", "diverged", "failed"],
        epoch: int,
    ) -> None:
        if record.seat is not None:
            record.stays[-1].end = epoch
        record.state = state
        if self._halving and state in LEFT:
            if state == "finished":
                self._halving.reached(record.name, record.by_epoch)
            self._halving.forget(record.name)

    def _take_requests(self, epoch: int) -> list[str]:
        stopped = []
        for request in self.requests():
            if request["id"] in self.taken:
                continue
            self.taken.append(request["id"])
            if "add" in request:
                self._add_requested(request["add"])
            for record in self.records.values():
                if request.get("stop") in (title_of(record), record.name) and record.state not in LEFT:
                    stopped.append(record.name)
                    self._leave(record, "stopped", epoch)
        return stopped

    def _stop_by_median(self, epoch: int) -> list[str]:
        spec = self.sweep.spec
        if not isinstance(spec.scheduler, MedianScheduler):
            return []
        stopped = worse_than_median(self.records.values(), spec.scheduler, mode=spec.mode)
        for name in stopped:
            self._leave(self.records[name], "stopped", epoch)
        return stopped

    def _at_rungs(self, results: Mapping[str, ArmResult]) -> list[str]:
        """Arms in seats whose job is done: they have reached a rung."""
        if not self._halving:
            return []
        seated = [name for name in results if self.records[name].state == "training"]
        return [
            name
            for name in sorted(seated, key=self._seat_of)
            if self._halving.reached(name, self.records[name].by_epoch)
        ]

    # ---- who comes next

    def _next_job(self, resting: Sequence[str]) -> ArmRecord | None:
        """The arm that takes a seat: one to promote, else one that waits, else a new one."""
        if self._halving and (name := self._halving.promotable()):
            record = self.records[name]
            if record.state == "paused" or name in resting:
                self._halving.promote(name)
                return record
            self._halving.forget(name)
            return self._next_job(resting)
        waiting = next((each for each in self.records.values() if each.state == "waiting"), None)
        while waiting is None and self.to_propose:
            self._propose()
            waiting = next((each for each in self.records.values() if each.state == "waiting"), None)
        return waiting or self._last_one(resting)

    def _last_one(self, resting: Sequence[str]) -> ArmRecord | None:
        """Where nobody else would come and no arm has trained to its end: the best one does."""
        states = {record.state for name, record in self.records.items() if name not in resting}
        if self._halving is None or not states.isdisjoint({"finished", "ended", "training"}):
            return None
        paused = [name for name, record in self.records.items() if record.state == "paused"]
        name = self._halving.best_of_highest({*paused, *resting})
        if name is None:
            return None
        self._halving.promote(name)
        return self.records[name]

    def _give_back(self, record: ArmRecord) -> None:
        """There is no room for this arm now."""
        if self._halving and record.state == "paused":
            for promoted in reversed(self._halving.promoted):
                if record.name in promoted:
                    promoted.remove(record.name)
                    return

    def _end_search(self, epoch: int) -> list[str]:
        """Nobody sits and nobody comes: arms that were paused end here."""
        paused = [record for record in self.records.values() if record.state == "paused"]
        for record in paused:
            self._leave(record, "stopped", epoch)
        return [record.name for record in paused]

    def _propose(self) -> None:
        """Ask Optuna for an arm, with the results up to now."""
        spec = self.sweep.spec
        assert spec.optuna  # noqa: S101
        number = len(self.proposals)
        past = [(proposal, self._outcome(proposal)) for proposal in self.proposals]
        proposal = propose(spec.optuna, past, mode=spec.mode)
        self.proposals.append(proposal)
        try:
            rows = self.sweep.propose(number, proposal.overrides)
        except InputError as error:
            self.refused.append({"proposal": str(number), "reason": str(error)})
            return
        proposal.names = [self._add(arm) for arm in rows]

    def _outcome(self, proposal: Proposal) -> Outcome:
        records = [self.records[name] for name in proposal.names]
        if not records or all(record.state in ("failed", "diverged") for record in records):
            return Outcome("failed", {})
        common = set.intersection(*(set(record.by_epoch) for record in records))
        values = {epoch: statistics.fmean(record.by_epoch[epoch] for record in records) for epoch in sorted(common)}
        if any(record.state in ("training", "waiting") for record in records):
            return Outcome("running", values)
        is_complete = all(record.state in ("finished", "ended") for record in records)
        return Outcome("complete" if is_complete else "stopped", values)

    @property
    def to_propose(self) -> int:
        """Arms that Optuna will still choose."""
        optuna = self.sweep.spec.optuna
        return max(0, optuna.arms - len(self.proposals)) if optuna else 0

    # ---- records

    def _add(self, arm: Arm) -> str:
        """Let an arm wait; the same experiment again is one more row of the arm that is known."""
        name = f"{self.prefix}{arm.short_key}"
        record = self.records.get(name)
        if record is None:
            self.records[name] = ArmRecord(name, arm_as_json(arm))
        elif all(arm.row_name != row["label"] for row in (record.arm, *record.arm["duplicates"])):
            record.arm["duplicates"].append(arm_as_json(arm))
        return name

    def _add_requested(self, asked: Mapping[str, Any]) -> None:
        try:
            for arm in merge_duplicates(self.sweep.added(asked["label"], asked["overrides"])):
                self._add(arm)
        except InputError as error:
            self.refused.append({"request": asked["label"], "reason": str(error)})

    def _seated(self) -> list[str]:
        return [name for name, record in self.records.items() if record.state == "training"]

    def _seat_of(self, name: str) -> int:
        seat = self.records[name].seat
        return -1 if seat is None else seat

    def experiment(self, name: str) -> Experiment:
        """An arm's experiment."""
        return parse_experiment(self.records[name].arm["experiment"], source=name)

    @staticmethod
    def _as_joining(record: ArmRecord) -> Joining:
        return Joining(record.name, record.arm["experiment"], record.stays[-1].seat, record.epochs)
