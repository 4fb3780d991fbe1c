"""The arms of a sweep: its rows with their seeds, checked, and which of them are the same experiment."""

import copy
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.spec.comparable import incomparable_arms
from side4video.spec.experiment import Experiment
from side4video.spec.load import SpecError, parse_experiment, set_path
from side4video.spec.protocol import ComparedResult
from side4video.spec.space import RandomSampler, sample_overrides
from side4video.spec.sweep import ArmEntry, SweepSpec
from pathlib import Path
from typing import Any
from side4video.spec.load import apply_override, parse_document, read_text, read_yaml
from side4video.spec.sweep import SweepSpec

MAX_NAME_LENGTH = 80
MAX_PROBLEMS = 12
"""Mistakes of arms that are told at once."""
TableEntry = tuple[str, ArmEntry]
"""Name of a table, and one of its rows before it is checked."""
CHECKED_SAMPLES = 32
"""Draws of a search space that are checked before it is searched."""


def short_key(key: str) -> str:
    """The beginning of an arm's key: the name of its student in a pack."""
    return key[:16]


@dataclass(frozen=True)
class Arm:
    """One row of a sweep with one seed: an experiment, and where it stands in the sweep."""

    table: str
    """Name of its table; empty for a grid or a search."""
    label: str
    overrides: Mapping[str, Any]
    """What it changes of the base, by dotted path."""
    seed: int
    """The model's."""
    experiment: Experiment
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's figures for it."""
    repeat: int = 0
    """Which of its seeds it is, from 0."""
    duplicates: tuple["Arm", ...] = ()
    """Further rows of the sweep that are the same experiment; they train once (see `merge_duplicates`)."""

    @cached_property
    def key(self) -> str:
        """The hash of everything that can change its result; it identifies the arm in other sweeps too."""
        return self.experiment.digest()

    @property
    def short_key(self) -> str:
        """The beginning of the key: the name of its student in a pack."""
        return short_key(self.key)

    @property
    def rows(self) -> tuple["Arm", ...]:
        """Itself and its duplicates."""
        return (self, *self.duplicates)

    @property
    def row_name(self) -> str:
        """Table and label."""
        return f"{self.table}: {self.label}" if self.table else self.label

    @property
    def title(self) -> str:
        """Table and label, and the seed if it is not the first one."""
        return self.row_name + (f" · seed {self.seed}" if self.repeat else "")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep."""

    spec: SweepSpec
    base: Mapping[str, Any]
    """The base's document, its overrides applied."""
    source: str
    """The file, for errors."""
    rows: tuple[Arm, ...]
    """Each row with each seed, in the document's order; none before Optuna proposes them."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The distinct experiments, in the document's order, each with its duplicates."""
        return merge_duplicates(self.rows)

    @property
    def base_experiment(self) -> Experiment:
        """The experiment that arms change."""
        return parse_experiment(self.base, source=f"{self.source}: base")

    @property
    def batch(self) -> int:
        """Arms that Optuna proposes at a time: as many as a pack takes."""
        spec = self.spec
        most = spec.limits.virtual_trials // spec.seeds
        wanted = {"auto": min(8, most), "off": 1}.get(str(spec.packing)) or min(int(spec.packing), most)
        return max(1, min(wanted, spec.optuna.arms)) if spec.optuna else 0

    def propose(self, number: int, overrides: Mapping[str, Any]) -> tuple[Arm, ...]:
        """The rows of an arm that was proposed while the sweep runs, one a seed.

        Raises:
            InputError: If it is no experiment.
        """
        return make_rows(
            self.spec,
            self.base,
            [("", _make_entry(f"{number}: {describe_overrides(overrides)}", overrides))],
            self.source,
        )


def build_sweep(spec: SweepSpec, base: Mapping[str, Any], source: str) -> Sweep:
    """Check every arm of a sweep.

    Args:
        spec: The document.
        base: The base's document.
        source: The sweep's file, for errors.

    Raises:
        InputError: If the base or an arm is no experiment; it names the arm and the path. If arms answer different
            questions (`spec.protocol`), no column says so and `compare_anyway` does not either.
    """
    changed = apply_overrides(base, spec.overrides, f"{source}: overrides")
    experiment = parse_experiment(changed, source=f"{source}: base")
    spec = _with_task_metric(spec, experiment, source)
    _check_evaluation_interval(spec, experiment, source)
    rows = make_rows(spec, changed, list(_list_entries(spec)), source)
    if spec.reference and not spec.optuna and spec.reference not in {row.label for row in rows}:
        labels = ", ".join(dict.fromkeys(row.label for row in rows))
        raise InputError(f"{source}: reference", f"no arm is called {spec.reference!r}", allowed=labels)
    drawn = _sample_arms(spec, changed, source) if spec.optuna else ()
    for row in rows or drawn:
        if row.experiment.task.kind != experiment.task.kind:
            raise InputError(
                f"{source}: arm {row.label}: task.kind",
                f"{row.experiment.task.kind}, and the base is {experiment.task.kind}",
                allowed="one task a sweep: what they measure cannot be compared",
                fix="write a sweep for each",
            )
        if row.experiment.cluster.is_elastic:
            raise InputError(
                f"{source}: arm {row.label}: cluster.workers",
                f"{row.experiment.cluster.workers_text}, as the cluster has room",
                allowed="a number: arms that ran on different numbers of workers are not one comparison",
                fix=f"set it to {row.experiment.cluster.min_workers}",
            )
    seen = [row for row in rows or drawn if not row.repeat]
    if problems := incomparable_arms(spec, experiment, seen, as_compared_results(seen), source=source):
        raise SpecError(_limit_problems(problems, source))
    return Sweep(spec, changed, source, rows)


def _with_task_metric(spec: SweepSpec, base: Experiment, source: str) -> SweepSpec:
    """The metric that the task is judged by, unless another one of its own is named."""
    own = [f"eval/{metric.name}" for metric in base.task.metrics]
    if "metric" not in spec.model_fields_set:
        return spec.model_copy(update={"metric": own[0]})
    if spec.metric not in (*own, "eval/loss"):
        raise InputError(
            f"{source}: metric",
            f"{spec.metric}, and the task is {base.task.kind}",
            allowed=", ".join([*own, "eval/loss"]),
            fix=f"metric: {own[0]}",
        )
    return spec


def make_rows(spec: SweepSpec, base: Mapping[str, Any], entries: Sequence[TableEntry], source: str) -> tuple[Arm, ...]:
    """Every row with every seed, checked; all mistakes at once.

    Raises:
        SpecError: If an arm is no experiment; one line for each mistake, with arm and path.
    """
    rows, problems = [], []
    for table, entry in entries:
        where = f"{source}: arm {f'{table}: ' if table else ''}{entry.label}"
        try:
            document = apply_overrides(base, entry.overrides, where)
            first = parse_experiment(document, source=where).seed
            for seed in range(first, first + spec.seeds):
                named = {**document, "seed": seed, "name": arm_name(spec.name, table, entry.label, seed=seed)}
                experiment = parse_experiment(named, source=where)
                paper = {**entry.paper}
                rows.append(Arm(table, entry.label, entry.overrides, seed, experiment, paper, seed - first))
        except SpecError as error:
            problems += error.problems
        except InputError as error:
            problems.append(error)
    if problems:
        raise SpecError(_limit_problems(list({str(problem): problem for problem in problems}.values()), source))
    return tuple(rows)


def _limit_problems(problems: list[InputError], source: str) -> list[InputError]:
    """As many as somebody reads: one wrong path is wrong in every arm of a grid."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    rest = InputError(source, f"and {len(problems) - MAX_PROBLEMS} more mistakes, perhaps the same in other arms")
    return [*problems[:MAX_PROBLEMS], rest]


def merge_duplicates(rows: Iterable[Arm]) -> tuple[Arm, ...]:
    """Rows that are the same experiment, as one arm."""
    groups: dict[str, list[Arm]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return tuple(replace(first, duplicates=tuple(others)) for first, *others in groups.values())


def apply_overrides(base: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a document with values at dotted paths.

    Raises:
        InputError: If a path leads through something that is no section.
    """
    document = copy.deepcopy(dict(base))
    for path, value in overrides.items():
        set_path(document, path, copy.deepcopy(value), where=f"{where}: {path}")
    return document


def describe_overrides(overrides: Mapping[str, Any]) -> str:
    """`layers=4, dim=128`: overrides in short."""
    names = short_names(overrides)
    return ", ".join(f"{names[path]}={_format_value(value)}" for path, value in overrides.items()) or "the base"


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last word of each dotted path, or as many of the last words as tell it from the others."""
    unique = list(dict.fromkeys(paths))
    names = {}
    for path in unique:
        words = path.removesuffix(".kind").split(".")
        endings = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        names[path] = next((name for name in endings if _is_unique(name, unique)), endings[-1])
    return names


def _is_unique(name: str, paths: Sequence[str]) -> bool:
    ends = [path.removesuffix(".kind") for path in paths]
    return sum(end == name or end.endswith(f".{name}") for end in ends) == 1


def swept_values(rows: Sequence[Arm]) -> list[dict[str, Any]]:
    """For each row, what stands at every path that any row changes, under short names; the same names in each.

    A section is told by its kind; what a row's document does not have is None.
    """
    names = short_names(_changed_paths(rows))
    return [{names[path]: value for path, value in values.items()} for values in changed_values(rows)]


def as_compared_results(rows: Sequence[Arm]) -> list[ComparedResult]:
    """The rows as results of one table, whose columns are what any of them changes."""
    return [
        ComparedResult(row.row_name, dotted(row.experiment.resolved()), shown=dotted(values))
        for row, values in zip(rows, changed_values(rows), strict=True)
    ]


def changed_values(rows: Sequence[Arm]) -> list[dict[str, Any]]:
    """The same as `swept_values`, under whole dotted paths."""
    paths = _changed_paths(rows)
    documents = (row.experiment.resolved() for row in rows)
    return [{path: _value_at(document, path) for path in paths} for document in documents]


def _changed_paths(rows: Sequence[Arm]) -> list[str]:
    """Paths of single values: an override of a whole section counts as its kind and all that it sets."""
    paths: dict[str, None] = {}
    for row in rows:
        for path, value in row.overrides.items():
            inner = {f"{path}.{key}": None for key in value} if isinstance(value, Mapping) else {path: None}
            paths |= inner
    return list(paths)


def _value_at(document: Mapping[str, Any], path: str) -> Any:
    place: Any = document
    for key in path.split("."):
        if not isinstance(place, Mapping) or key not in place:
            return None
        place = place[key]
    if isinstance(place, Mapping):
        return place.get("kind") or json.dumps(place, sort_keys=True)
    return json.dumps(place) if isinstance(place, list) else place


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = [str(value["kind"])] if "kind" in value else []
        inner += [f"{key}={_format_value(each)}" for key, each in value.items() if key != "kind"]
        return " ".join(inner)
    return f"{value:g}" if isinstance(value, float) else str(value)


def arm_name(sweep: str, table: str, label: str, *, seed: int) -> str:
    """A name for an arm's experiment: sweep, table, label and seed, in the letters that a name may have."""
    text = "-".join(part for part in (sweep, table, label) if part)
    plain, ending = re.sub(r"[^A-Za-z0-9._]+", "-", text), f"-s{seed}"
    return plain[: MAX_NAME_LENGTH - len(ending)].rstrip("-.") + ending


def _make_entry(label: str, overrides: Mapping[str, Any]) -> ArmEntry:
    """A row that nobody wrote: its label may be longer than a user's."""
    return ArmEntry.model_construct(label=label, overrides=overrides)


def _list_entries(spec: SweepSpec) -> Iterable[TableEntry]:
    if spec.grid:
        for values in itertools.product(*spec.grid.values()):
            overrides = dict(zip(spec.grid, values, strict=True))
            yield "", _make_entry(describe_overrides(overrides), overrides)
    for name, table in spec.tables.items():
        for arm in table.arms:
            yield name, arm.model_copy(update={"overrides": {**table.overrides, **arm.overrides}})
    if spec.random:
        for number in range(spec.random.arms):
            overrides = sample_overrides(spec.random.space, RandomSampler("sweep", spec.random.seed, number))
            yield "", _make_entry(f"{number}: {describe_overrides(overrides)}", overrides)


def _check_evaluation_interval(spec: SweepSpec, experiment: Experiment, source: str) -> None:
    if spec.scheduler.kind == "none":
        return
    every, length = experiment.evaluation.every_epochs, experiment.optimization.length
    if not length.epochs or every < length.epochs:
        return
    has_time = length.epochs > 1
    raise InputError(
        f"{source}: base.evaluation.every_epochs",
        f"{every}, and a run has {length.epochs:g} epochs: {spec.scheduler.kind} would see no arm before its end",
        allowed=f"1 to {ceil(length.epochs) - 1}" if has_time else "runs of two epochs and more",
        fix="add `overrides: {evaluation.every_epochs: 1}` to the sweep" if has_time else "leave the scheduler out",
    )


def _sample_arms(spec: SweepSpec, base: Mapping[str, Any], source: str) -> tuple[Arm, ...]:
    """What can be known of arms that are still to be proposed: some drawn at random must be experiments."""
    space = spec.optuna.space if spec.optuna else {}
    drawn = [sample_overrides(space, RandomSampler("trial", number)) for number in range(CHECKED_SAMPLES)]
    return make_rows(
        spec, base, [("", _make_entry(describe_overrides(overrides), overrides)) for overrides in drawn], source
    )

def load_sweep(path: str | Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Read a sweep and check every arm of it.

    Args:
        path: The file.
        overrides: `dotted.path=value` each, of the sweep's document; `overrides.method.dim=64` cannot be said so,
            for its keys hold dots themselves: write `overrides={method.dim: 64}`.

    Raises:
        InputError: If the file, the base or an arm is wrong.
    """
    file = Path(path)
    text = read_text(file)
    document = read_yaml(text, str(file))
    for override in overrides:
        apply_override(document, override)
    spec = parse_document(SweepSpec, document, source=str(file), text=text)
    return build_sweep(spec, _base(spec, file), str(file))


def is_sweep(path: str | Path) -> bool:
    """Whether a file is a sweep's: it names the base of its arms.

    Raises:
        InputError: If it cannot be read.
    """
    return "base" in read_yaml(read_text(Path(path)), str(path))


def _base(spec: SweepSpec, file: Path) -> dict[str, Any]:
    if not isinstance(spec.base, str):
        return dict(spec.base)
    base = (file.parent / spec.base).resolve()
    return read_yaml(read_text(base), str(base))

