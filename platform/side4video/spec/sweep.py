"""The YAML document of a sweep: a base experiment, and the variants (arms) to try."""

import difflib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from side4video.core.bounds import Count, Few, Positive, Seed
from side4video.core.dotted import is_at_or_below
from side4video.core.errors import InputError
from side4video.core.spec import Spec, wrong
from side4video.spec.space import Dimension
from side4video.tasks.metrics import METRICS

METRIC_KEYS = (*(f"eval/{metric.name}" for metric in METRICS), "eval/loss")
METRIC_SCHEMA: JsonDict = {"anyOf": [{"enum": [*METRIC_KEYS]}, {"pattern": "^eval/"}]}
"""For editors: those of a head, and those of a plug-in, are not known here."""
MAX_SEATS = 10_000
PaperFigure = Literal["top1", "top5", "memory_gb", "gflops", "recall_at_1"]


class ArmEntry(Spec):
    """One arm of a table: a label, and the changes to the base."""

    label: Annotated[str, Field(min_length=1, max_length=80)]
    """Name of the arm in the report."""
    overrides: Mapping[str, Any] = {}
    """Changes to the base, by dotted path, for example `method.layers: 6`. Empty: the base itself."""
    paper: Mapping[PaperFigure, float] = {}
    """The paper's results for this arm, shown beside ours. Accuracies as fractions (0.755), memory in GB as the paper
    counts it."""


class Table(Spec):
    """A named group of arms, for example one part of the paper's Table 9."""

    title: str = ""
    """Title of the table in the report."""
    overrides: Mapping[str, Any] = {}
    """Changes to the base that all arms of the table share."""
    arms: Annotated[tuple[ArmEntry, ...], Field(min_length=1)]
    """The arms of the table."""

    @field_validator("arms")
    @classmethod
    def labels_differ(cls, arms: tuple[ArmEntry, ...]) -> tuple[ArmEntry, ...]:
        """Labels are unique within a table."""
        labels = [arm.label for arm in arms]
        twice = next((label for label in labels if labels.count(label) > 1), "")
        if twice:
            raise ValueError(f"two arms are called {twice} · allowed: each label once · fix: rename one")
        return arms


class RandomSearch(Spec):
    """Arms drawn at random. The same seed gives the same arms."""

    arms: Count
    """Number of arms. An arm that is drawn twice counts twice and is trained once."""
    seed: Seed = 0
    """Seed of the random draws."""
    space: Annotated[Mapping[str, Dimension], Field(min_length=1)]
    """The search space: dimensions by dotted path, for example `optimization.learning_rate: {kind: log-uniform, low:
    1.0e-5, high: 1.0e-3}`."""


class OptunaSearch(Spec):
    """Arms proposed by Optuna (tree-structured Parzen estimator), in batches as large as a pack."""

    arms: Count
    """Number of arms."""
    seed: Seed = 0
    """Seed of the sampler. The same seed and the same results give the same arms."""
    startup: Count = 8
    """Number of arms drawn at random before the estimator starts."""
    space: Annotated[Mapping[str, Dimension], Field(min_length=1)]
    """The search space: dimensions by dotted path, as for `random`."""


class NoScheduler(Spec):
    """Every arm is trained to the end."""

    kind: Literal["none"] = "none"


class AshaScheduler(Spec):
    """Asynchronous successive halving (Li et al., 2020, arXiv 1810.05934): arms with poor results stop early."""

    kind: Literal["asha"] = "asha"
    grace_epochs: Count = 1
    """Number of epochs that every arm is trained for."""
    reduction: Annotated[float, Field(gt=1, le=1_000)] = 4
    """At each rung about one of this many arms continues, and the next rung is this many times as many epochs later.
    With 4: rungs at 1, 4, 16 epochs."""


class MedianScheduler(Spec):
    """Median stopping (Golovin et al., 2017): stops arms that are worse than the median of the running means."""

    kind: Literal["median"] = "median"
    grace_epochs: Count = 1
    """Number of epochs that every arm is trained for."""
    arms: Count = 3
    """Number of other arms that must have reached the same epoch before an arm can be stopped."""


Scheduler = Annotated[NoScheduler | AshaScheduler | MedianScheduler, Field(discriminator="kind")]


class Limits(Spec):
    """Limits on the resources of a sweep."""

    memory_gib: Positive | Literal["any"] = "any"
    """Memory of one worker's device, GiB, for example 80. Packs whose predicted peak is larger are split."""
    parallel_packs: Few = 1
    """Maximum number of packs that train at the same time, if the cluster has room."""
    virtual_trials: Few = 16
    """Maximum number of Ray Tune trials at the same time. Each is a small process on the head node (about 200 MB). With
    a scheduler or Optuna this also limits the arms of a pack."""
    hours: Positive | Literal["any"] = "any"
    """No new pack starts after this many hours. Run the same command again to continue."""


class Seats(Spec):
    """One endless pass of the frozen backbone, whose seats are taken by one arm after another."""

    seats: Few | Literal["auto"] = "auto"
    """Number of arms that train at the same time. `auto`: as many as `limits.virtual_trials`. With `limits.memory_gib`
    an arm waits for as long as it would not fit beside the others."""
    aligned: bool = False
    """Whether all arms see the same order of clips: a pack starts and ends with the arms that it was made of. By
    default an arm takes a seat at the next epoch of the pass, and sees the clips of that epoch and the following
    ones."""
    share: bool = False
    """Whether sweeps of several users share the pass: those with the same data, batches, evaluation, backbone, number
    of seats, store and `cluster.storage`. Each keeps its own MLflow experiment, and they take free seats in turn."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The section, with one error that names its field, though `packing` may be other things too."""
        unknown = [str(key) for key in document if key not in cls.model_fields]
        if unknown:
            near = difflib.get_close_matches(unknown[0], cls.model_fields, n=1)
            fix = f"did you mean {near[0]}?" if near else "remove it"
            raise wrong("packing", f"unknown key {unknown[0]!r}", allowed=", ".join(cls.model_fields), fix=fix)
        seats, aligned = document.get("seats", "auto"), document.get("aligned", False)
        is_number = isinstance(seats, int) and not isinstance(seats, bool) and 0 < seats <= MAX_SEATS
        if not is_number and seats != "auto":
            raise wrong("packing.seats", f"{seats!r}", allowed=f"auto, or 1 to {MAX_SEATS}", fix="packing: {seats: 8}")
        share = document.get("share", False)
        for name, value in {"aligned": aligned, "share": share}.items():
            if not isinstance(value, bool):
                raise wrong(f"packing.{name}", f"{value!r}", allowed="true, false", fix=f"{name}: false")
        if aligned and share:
            found = "share and aligned: aligned arms start together, and a shared pass runs already"
            raise wrong("packing", found, allowed="one of the two", fix="remove aligned")
        return cls(seats=seats, aligned=aligned, share=share)


class SweepSpec(Spec):
    """An ablation or a search over one base experiment."""

    READS_BOOLEANS: ClassVar = frozenset({"packing"})
    schema_version: Literal[1] = 1
    """Version of this document's form."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")]
    """Name of the sweep: letters, digits, dot, dash and underscore."""
    base: str | Mapping[str, Any]
    """The base experiment: the path of its file, relative to this file; the name of a preset; or the document
    itself."""
    overrides: Mapping[str, Any] = {}
    """Changes to the base that all arms share, by dotted path."""
    grid: Mapping[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = {}
    """Values by dotted path; every combination is one arm. For example `{method.layers: [4, 6, 12], seed: [0, 1]}`
    gives six arms."""
    tables: Mapping[str, Table] = {}
    """Named groups of arms. An arm that is in several tables is trained once."""
    random: RandomSearch | None = None
    """Random search: arms drawn from a search space."""
    optuna: OptunaSearch | None = None
    """Optuna search: arms proposed batch by batch, from the results of earlier arms."""
    seeds: Few = 1
    """Number of repetitions of each arm, with different model seeds. The first seed is the base's."""
    metric: Annotated[str, Field(json_schema_extra=METRIC_SCHEMA)] = METRIC_KEYS[0]
    """The metric that arms are compared by, after each evaluation, also one of a head, such as `eval/verb_top1`.
    Default: that of the task, such as `eval/top1`, or `eval/t2v_r1` for retrieval."""
    mode: Literal["max", "min"] = "max"
    """`max` if larger values of the metric are better, `min` if smaller values are."""
    reference: str = ""
    """Label of the arm that the others are compared with. Empty: the first arm without changes, or else the first
    arm."""
    compare_anyway: tuple[str, ...] = ()
    """Evaluation settings (for example `data.augmentation.resize`) in which arms may differ although no column of the
    report shows it. The report then mentions the difference above the table. Not needed for fields that the arms change
    themselves: they are columns."""
    scheduler: Scheduler = NoScheduler()
    """Stops arms with poor results early."""
    packing: Few | Literal["auto", "off"] | Seats = "auto"
    """Maximum number of arms that share one pass of the frozen backbone. `auto`: as many as fit into memory. `off`:
    each arm runs alone. `{seats: 8}`: one endless pass, in which an arm that ends makes room for the next one."""
    limits: Limits = Limits()
    """Limits on memory, time and processes."""
    reproduces: str = ""
    """The part of the paper that the sweep reproduces, as text for the report."""

    @field_validator("metric")
    @classmethod
    def metric_is_one_of_a_task(cls, metric: str) -> str:
        """The metric is one of an evaluation. The base decides which there are: it may name plug-ins."""
        if metric not in METRIC_KEYS and not metric.startswith("eval/"):
            near = difflib.get_close_matches(metric, METRIC_KEYS, n=1, cutoff=0.4)
            fix = f" · fix: did you mean {near[0]}?" if near else ""
            raise ValueError(f"{metric!r} · allowed: {', '.join(METRIC_KEYS)}{fix}")
        return metric

    @field_validator("packing", mode="before")
    @classmethod
    def yaml_off_is_text(cls, packing: Any) -> Any:
        """YAML reads `off` as false and `on` as true.

        False means `off`; true is an error, because it would count as 1.
        """
        if packing is True:
            raise ValueError("on · allowed: auto, off, or the most arms of a pack · fix: packing: auto")
        if isinstance(packing, Mapping):
            return Seats.read(packing)
        is_right = packing in ("auto", "off") or (isinstance(packing, int) and packing > 0)
        if not is_right and packing is not False and not isinstance(packing, Seats):
            allowed = "auto, off, a number above 0, or {seats: 8}"
            raise wrong("packing", f"{packing!r}", allowed=allowed, fix="packing: auto")
        return "off" if packing is False else packing

    @field_validator("scheduler", mode="before")
    @classmethod
    def scheduler_can_be_a_name(cls, scheduler: Any) -> Any:
        """`scheduler: asha` is short for `scheduler: {kind: asha}`."""
        return {"kind": scheduler} if isinstance(scheduler, str) else scheduler

    @model_validator(mode="after")
    def arms_have_one_source(self) -> Self:
        """Exactly one of `grid`, `tables`, `random` and `optuna` is given."""
        ways = {"grid": self.grid, "tables": self.tables, "random": self.random, "optuna": self.optuna}
        given = [name for name, value in ways.items() if value]
        if len(given) != 1:
            found = " and ".join(given) or "no arms"
            raise ValueError(
                f"{found} · allowed: exactly one of grid, tables, random, optuna · "
                f"fix: {'keep one of them' if given else 'add `grid: {method.layers: [4, 6, 12]}`, say'}"
            )
        return self

    @model_validator(mode="after")
    def swept_paths_are_apart(self) -> Self:
        """No swept path is below another one: values of one would replace those of the other."""
        spaces = {name: search.space for name, search in (("random", self.random), ("optuna", self.optuna)) if search}
        for name, swept in {"grid": self.grid, **spaces}.items():
            paths = [str(path) for path in swept]
            for path in paths:
                above = next((other for other in paths if other != path and is_at_or_below(path, other)), "")
                if above:
                    raise ValueError(
                        f"`{path}` is below `{above}`, and both are in `{name}` · allowed: paths of which none is "
                        f"below another · fix: give `{above}` whole values, or write the combinations as `tables`"
                    )
        return self

    @property
    def has_seats(self) -> bool:
        """Whether arms take the seats of an endless pass, at different epochs."""
        return isinstance(self.packing, Seats) and not self.packing.aligned

    @property
    def shares_pass(self) -> bool:
        """Whether other sweeps may take seats of the same pass."""
        return isinstance(self.packing, Seats) and self.packing.share

    @property
    def pack_limit(self) -> int | Literal["auto", "off"]:
        """Maximum number of arms that train at the same time on one pass."""
        return self.packing.seats if isinstance(self.packing, Seats) else self.packing

    @property
    def seats(self) -> int:
        """Seats of an endless pass."""
        return self.limits.virtual_trials if self.pack_limit in ("auto", "off") else int(self.pack_limit)

    def check_installed(self) -> None:
        """Check that the package of the search is installed here. Nothing is imported.

        Raises:
            InputError: It is not.
        """
        if self.optuna and find_spec("optuna") is None:
            raise InputError(
                "optuna",
                "the package optuna is not installed here",
                fix="pip install 'side4video[optuna]', on the machine that runs the sweep",
            )

    @property
    def uses_epoch_results(self) -> bool:
        """Whether a scheduler or Optuna uses the results of each epoch."""
        return self.scheduler.kind != "none" or self.optuna is not None
