"""The sweep: one experiment, and what is changed of it, arm by arm."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from side4video.core.spec import Spec
from side4video.spec.space import Dimension
from side4video.tasks.metrics import METRICS

METRIC_KEYS = (*(f"eval/{metric.name}" for metric in METRICS), "eval/loss")
PaperFigure = Literal["top1", "top5", "memory_gb", "gflops", "recall_at_1"]


class ArmEntry(Spec):
    """One row of a table."""

    label: Annotated[str, Field(min_length=1, max_length=80)]
    """What the row is called."""
    overrides: Mapping[str, Any] = {}
    """What it changes of the base, by dotted path; empty: the base itself."""
    paper: Mapping[PaperFigure, float] = {}
    """The paper's figures of the row, to stand beside ours: fractions, and gigabytes as the paper counts them."""


class Table(Spec):
    """A named group of arms, such as a part of the paper's Table 9."""

    title: str = ""
    """What the table is about."""
    overrides: Mapping[str, Any] = {}
    """What all its arms change of the base."""
    arms: Annotated[tuple[ArmEntry, ...], Field(min_length=1)]
    """Its rows."""

    @field_validator("arms")
    @classmethod
    def labels_differ(cls, arms: tuple[ArmEntry, ...]) -> tuple[ArmEntry, ...]:
        """A row is found by its label."""
        labels = [arm.label for arm in arms]
        twice = next((label for label in labels if labels.count(label) > 1), "")
        if twice:
            raise ValueError(f"two arms are called {twice} · allowed: each label once · fix: rename one")
        return arms


class RandomSearch(Spec):
    """Arms drawn at random; the same seed gives the same arms."""

    arms: PositiveInt
    """How many; those that are drawn twice count twice and train once."""
    seed: NonNegativeInt = 0
    """Of the draws."""
    space: Annotated[Mapping[str, Dimension], Field(min_length=1)]
    """What is drawn, by dotted path."""


class OptunaSearch(Spec):
    """Arms proposed by Optuna's tree-structured Parzen estimator, in batches of the pack's size."""

    arms: PositiveInt
    """How many."""
    seed: NonNegativeInt = 0
    """Of the sampler: the same seed and the same results, the same arms."""
    startup: PositiveInt = 8
    """Arms drawn at random before the estimator begins."""
    space: Annotated[Mapping[str, Dimension], Field(min_length=1)]
    """What is searched, by dotted path."""


class NoScheduler(Spec):
    """Every arm trains to its end."""

    kind: Literal["none"] = "none"


class AshaScheduler(Spec):
    """Asynchronous successive halving (Li et al., 2020, arXiv 1810.05934): weak arms stop at rungs."""

    kind: Literal["asha"] = "asha"
    grace_epochs: PositiveInt = 1
    """Epochs that every arm trains."""
    reduction: Annotated[float, Field(gt=1)] = 4
    """At each rung about one arm of so many goes on; the next rung is so many times as far."""


class MedianScheduler(Spec):
    """An arm stops when its best value is below the median of the others' running means (Golovin et al., 2017)."""

    kind: Literal["median"] = "median"
    grace_epochs: PositiveInt = 1
    """Epochs that every arm trains."""
    arms: PositiveInt = 3
    """Other arms that must have come as far before one is stopped."""


Scheduler = Annotated[NoScheduler | AshaScheduler | MedianScheduler, Field(discriminator="kind")]


class Limits(Spec):
    """What a sweep may take."""

    memory_gib: PositiveFloat | Literal["any"] = "any"
    """Of one worker's device. A pack whose predicted peak is above it is split."""
    parallel_packs: PositiveInt = 1
    """Packs that train at a time, where the cluster holds so many."""
    virtual_trials: PositiveInt = 16
    """Ray Tune trials at a time: small processes of about 200 MB, on the head. Where a scheduler or Optuna decides,
    also the most arms of a pack."""
    hours: PositiveFloat | Literal["any"] = "any"
    """After this long no further pack begins; the same command goes on later."""


class SweepSpec(Spec):
    """An ablation or a search over one base experiment."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")]
    """Letters, digits, dot, dash and underscore; names the sweep."""
    base: str | Mapping[str, Any]
    """The experiment that arms change: its file, relative to this one, or the document itself."""
    overrides: Mapping[str, Any] = {}
    """What all arms change of the base."""
    grid: Mapping[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = {}
    """Every combination of these values, by dotted path."""
    tables: Mapping[str, Table] = {}
    """Named groups of arms. An arm that stands in several trains once."""
    random: RandomSearch | None = None
    """Arms drawn from a space."""
    optuna: OptunaSearch | None = None
    """Arms proposed from a space, each batch after the last one ended."""
    seeds: PositiveInt = 1
    """Each arm is repeated with so many model seeds, counted from the base's."""
    metric: Annotated[str, Field(json_schema_extra={"enum": list(METRIC_KEYS)})] = METRIC_KEYS[0]
    """By which arms are compared, at the end of each epoch that is evaluated; where it is not given, `eval/top1` or, of
    retrieval, `eval/t2v_r1`."""
    mode: Literal["max", "min"] = "max"
    """Whether more of it is better."""
    reference: str = ""
    """The label of the arm that the others are compared with; empty: the first that changes nothing, or the first."""
    compare_anyway: tuple[str, ...] = ()
    """Fields of the protocol (`data.augmentation.resize`) in which arms may differ although no column of the report
    says so; the report then says it above the table. Arms that differ in a field that they name need none of this."""
    scheduler: Scheduler = NoScheduler()
    """Who stops arms early."""
    packing: PositiveInt | Literal["auto", "off"] = "auto"
    """How many arms share a pass of the frozen backbone: as many as fit and pay, none, or at most so many."""
    limits: Limits = Limits()
    """What it may take."""
    reproduces: str = ""
    """What of the paper it reproduces, in words."""

    @field_validator("metric")
    @classmethod
    def metric_is_one_of_a_task(cls, metric: str) -> str:
        """Refuse a metric that no task measures."""
        if metric not in METRIC_KEYS:
            near = difflib.get_close_matches(metric, METRIC_KEYS, n=1, cutoff=0.4)
            fix = f" · fix: did you mean {near[0]}?" if near else ""
            raise ValueError(f"{metric!r} · allowed: {', '.join(METRIC_KEYS)}{fix}")
        return metric

    @field_validator("packing", mode="before")
    @classmethod
    def yaml_off_is_text(cls, packing: Any) -> Any:
        """YAML reads `off` as false, and `on` as true, which would count as one."""
        if packing is True:
            raise ValueError("on · allowed: auto, off, or the most arms of a pack · fix: packing: auto")
        return "off" if packing is False else packing

    @field_validator("scheduler", mode="before")
    @classmethod
    def scheduler_can_be_a_name(cls, scheduler: Any) -> Any:
        """`asha` is `{kind: asha}`."""
        return {"kind": scheduler} if isinstance(scheduler, str) else scheduler

    @model_validator(mode="after")
    def arms_have_one_source(self) -> Self:
        """Exactly one of the four ways to say what is tried."""
        ways = {"grid": self.grid, "tables": self.tables, "random": self.random, "optuna": self.optuna}
        given = [name for name, value in ways.items() if value]
        if len(given) != 1:
            found = " and ".join(given) or "no arms"
            raise ValueError(
                f"{found} · allowed: exactly one of grid, tables, random, optuna · "
                f"fix: {'keep one of them' if given else 'add `grid: {method.layers: [4, 6, 12]}`, say'}"
            )
        return self

    @property
    def uses_epoch_results(self) -> bool:
        """Whether somebody hears of each epoch and acts on it: a scheduler, or Optuna."""
        return self.scheduler.kind != "none" or self.optuna is not None
