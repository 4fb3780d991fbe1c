"""Several sweeps on one endless pass: each has its own search, and they take the free seats in turn.

The sweep with the fewest arms in seats is asked first. Nobody is sent away for another sweep: seats become free when
arms end, or pause at a rung. What a sweep decides depends on its own results and on which seats were free for it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from side4video.arm_search.document import SearchDocument
from side4video.arm_search.records import LEFT, ArmRecord
from side4video.arm_search.search import ArmSearch, Request
from side4video.engine.arm_source import ArmResult, Changes
from side4video.engine.preemption import StopRequest
from side4video.spec.experiment import Experiment

PREFIX_LENGTH = 8


def member_prefix(member: str) -> str:
    """Start of the names of a sweep's arms on a shared pass; `member` is the id of the sweep's run."""
    return f"{member[:PREFIX_LENGTH]}-"


@dataclass
class Member:
    """A sweep on a shared pass, as the last news told."""

    name: str
    """Of the sweep."""
    search: ArmSearch
    fits: Callable[[Sequence[Experiment]], bool]
    """Whether experiments fit into the memory that this sweep allows."""
    is_here: bool = True
    """Whether its command runs. Without it, arms in seats go on, and none of the others joins."""
    closes_at: float = math.inf
    """Time (seconds since 1970) after which none of its arms joins."""
    requests: Sequence[Request] = ()

    @property
    def is_closed(self) -> bool:
        """Whether none of its arms joins now."""
        return not self.is_here or time.time() > self.closes_at

    @property
    def is_over(self) -> bool:
        """Whether all of its arms have ended, and no other one would come."""
        return not self.search.to_propose and all(each.state in LEFT for each in self.search.records.values())


@dataclass
class SharedSearch:
    """The decisions of several sweeps on one pass (`engine.arm_source.ArmSource`)."""

    seats: int
    own: str
    """The member whose command runs the pass."""
    news: Callable[[], Sequence[Mapping[str, Any]]]
    """All that have ever asked for seats: `member` (the id of the sweep's run), `document` (of a `SearchDocument`),
    `is_here`, `closes_at` and `requests`. First come, first named."""
    members: dict[str, Member] = field(default_factory=dict)

    # ---- ArmSource

    def advance(self, epoch: int, results: Mapping[str, ArmResult]) -> Changes:
        """See `ArmSource`: each sweep takes its results, then they take free seats in turn."""
        self._hear()
        for member, each in self.members.items():
            own = {name: result for name, result in results.items() if name.startswith(member_prefix(member))}
            each.search.begin(epoch, own)
        return self._fill()

    def fail(self, name: str, reason: str) -> Changes:
        """See `ArmSource`."""
        epoch = next(
            each.search.note_failure(name, reason)
            for member, each in self.members.items()
            if name.startswith(member_prefix(member))
        )
        for each in self.members.values():
            each.search.begin(epoch)
        return self._fill()

    def shown(self) -> dict[str, Any]:
        """See `ArmSource`. Labels of other sweeps' arms begin with the sweep's name."""
        shown: dict[str, Any] = {"seated": [], "labels": {}, "states": {}, "waiting": 0}
        for member, each in self.members.items():
            part, of = each.search.shown(), "" if member == self.own else f"{each.name}: "
            shown["seated"] += part["seated"]
            shown["labels"] |= {name: f"{of}{label}" for name, label in part["labels"].items()}
            shown["states"] |= part["states"]
            shown["waiting"] += part["waiting"]
        return shown

    def epochs_left(self) -> int:
        """See `ArmSource`."""
        parts = [each.search.work_left() for each in self.members.values()]
        work, longest = sum(part[0] for part in parts), max((part[1] for part in parts), default=0.0)
        return max(math.ceil(work / self.seats), math.ceil(longest))

    def state(self) -> dict[str, Any]:
        """See `ArmSource`: by member, its search and its name."""
        return {
            "own": self.own,
            "members": {
                member: {
                    "name": each.name,
                    "search": each.search.state(),
                    "epochs_left": math.ceil(max(each.search.work_left())),
                }
                for member, each in self.members.items()
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `ArmSource`."""
        self._hear()
        for member, each in state["members"].items():
            self.members[member].search.restore(each["search"])
            if member != self.own:
                self.members[member].search.shown()  # what became of others' arms before is no news here

    # ---- the command that runs the pass

    @property
    def hands_over(self) -> bool:
        """Whether the sweep whose command runs the pass needs it no more, and others do."""
        own = self.members.get(self.own)
        if own is None or not (own.is_over or (own.is_closed and not own.search.training)):
            return False
        return any(each.search.training for each in self.members.values())

    # ---- deciding

    def _hear(self) -> None:
        for told in self.news():
            member = told["member"]
            if member not in self.members:
                self.members[member] = self._member(member, SearchDocument(**told["document"]))
            each = self.members[member]
            each.is_here, each.closes_at, each.requests = told["is_here"], told["closes_at"], told["requests"]

    def _member(self, member: str, document: SearchDocument) -> Member:
        search = document.search(
            requests=lambda: self.members[member].requests,
            is_closed=lambda: self.members[member].is_closed,
            prefix=member_prefix(member),
        )
        made = Member(document.built.spec.name, search, search.fits)
        search.seats = self.seats
        search.fits = lambda experiments: all(each.fits(experiments) for each in self.members.values())
        return made

    def _fill(self) -> Changes:
        searches = [each.search for each in self.members.values()]
        asking = list(searches)
        while asking and sum(len(each.training) for each in searches) < self.seats:
            turn = min(asking, key=lambda each: (len(each.training), searches.index(each)))
            if not turn.seat_next(self._beside(turn)):
                asking.remove(turn)
        for each in searches:
            each.leave()
        changes = []
        for each in searches:
            taken = {record.seat for other in searches for record in other.records.values() if other is not each}
            changes.append(each.join({seat for seat in taken if seat is not None}))
        return Changes(
            [name for each in changes for name in each.pause],
            [name for each in changes for name in each.stop],
            [joining for each in changes for joining in each.join],
        )

    def _beside(self, search: ArmSearch) -> list[Experiment]:
        """The experiments that other sweeps train in the next epoch."""
        return [
            each.search.experiment(name)
            for each in self.members.values()
            if each.search is not search
            for name in each.search.training
        ]


def leaves_when_over(shared: SharedSearch, otherwise: Callable[[], StopRequest]) -> Callable[[], StopRequest]:
    """Asks the workers to save and to leave when the pass is to be handed over to another command."""
    return lambda: StopRequest.LEAVE if shared.hands_over else otherwise()


def records_in(state: Mapping[str, Any]) -> list[ArmRecord]:
    """The records in the state of a search, or of all searches of a shared pass."""
    parts = [each["search"] for each in state["members"].values()] if "members" in state else [state]
    return [ArmRecord.from_json(each) for part in parts for each in part.get("records", ())]
