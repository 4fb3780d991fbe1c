"""What a search knows of its arms, as JSON values: a checkpoint keeps it, and a page shows it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from side4video.data.first_epoch import shortest_first_epoch
from side4video.spec.arm import Arm
from side4video.spec.load import parse_experiment

ArmState = Literal["waiting", "training", "paused", "finished", "ended", "stopped", "diverged", "failed"]
LEFT = ("finished", "ended", "stopped", "diverged", "failed")
"""States of arms that do not come back."""


@dataclass
class Stay:
    """The time that an arm has a seat."""

    seat: int
    first: int
    """The pass's epoch in which it took it."""
    end: int | None = None
    """The pass's epoch before which it left; None while it is there."""


@dataclass
class ArmRecord:
    """One arm of a search."""

    name: str
    """Its student's name: the short key of its arm, on a shared pass with the sweep before it (`SharedSearch`)."""
    arm: dict[str, Any]
    """`arm_as_json` of it."""
    state: ArmState = "waiting"
    epochs: int = 0
    """Epochs that it has trained."""
    values: dict[str, float] = field(default_factory=dict)
    """The sweep's metric by its own epoch, counted from 1."""
    stays: list[Stay] = field(default_factory=list)
    reason: str = ""
    """Why it failed."""

    @property
    def short_key(self) -> str:
        """Of its arm."""
        return self.name.rpartition("-")[2]

    @property
    def seat(self) -> int | None:
        """Its seat, if it has one."""
        return self.stays[-1].seat if self.stays and self.stays[-1].end is None else None

    @property
    def by_epoch(self) -> dict[int, float]:
        """Its values by epoch."""
        return {int(epoch): value for epoch, value in self.values.items()}

    def as_json(self) -> dict[str, Any]:
        """JSON values. The arm's document is not copied: a search may have a thousand."""
        return {**vars(self), "values": dict(self.values), "stays": [asdict(each) for each in self.stays]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ArmRecord":
        """The record from `as_json`."""
        stays = [Stay(**each) for each in document["stays"]]
        return cls(**{**document, "stays": stays})


def title_of(record: ArmRecord) -> str:
    """Label of an arm, with its table, and its seed if it is not the first one."""
    arm = record.arm
    name = f"{arm['table']}: {arm['label']}" if arm["table"] else arm["label"]
    return name + (f" · seed {arm['seed']}" if arm["repeat"] else "")


def arm_as_json(arm: Arm) -> dict[str, Any]:
    """An arm as JSON values, its duplicates included."""
    return {
        "table": arm.table,
        "label": arm.label,
        "overrides": dict(arm.overrides),
        "seed": arm.seed,
        "experiment": arm.experiment.resolved(),
        "paper": dict(arm.paper),
        "repeat": arm.repeat,
        "duplicates": [arm_as_json(each) for each in arm.duplicates],
    }


def arm_from_json(document: Mapping[str, Any]) -> Arm:
    """The arm from `arm_as_json`.

    Raises:
        InputError: Its experiment is none any more, for example because a plug-in is missing.
    """
    return Arm(
        **{
            **document,
            "experiment": parse_experiment(document["experiment"], source=f"arm {document['label']}"),
            "duplicates": tuple(arm_from_json(each) for each in document["duplicates"]),
        }
    )


def first_epoch_of(record: ArmRecord) -> int | tuple[int, ...]:
    """`data.first_epoch` of the same arm alone: the epochs of the pass that it saw."""
    seen = [epoch for stay in record.stays if stay.end is not None for epoch in range(stay.first, stay.end)]
    seen += [stay.first for stay in record.stays if stay.end is None]
    return shortest_first_epoch(seen)
