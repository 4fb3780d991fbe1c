"""The arms of a sweep: reads and checks the document, and finds arms that are the same experiment."""

import copy
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from side4video.core.dotted import dotted, short_names
from side4video.core.errors import InputError
from side4video.spec.comparable import incomparable_arms
from side4video.spec.experiment import Experiment
from side4video.spec.load import (
    SpecError,
    apply_override,
    parse_document,
    parse_experiment,
    read_text,
    read_yaml,
    set_path,
)
from side4video.spec.presets import base_file, spec_file
from side4video.spec.protocol import ComparedResult
from side4video.spec.seats import check_can_take_seats
from side4video.spec.space import RandomSampler, sample_overrides
from side4video.spec.sweep import ArmEntry, SweepSpec
from side4video.spec.sweep_metric import with_task_metric

MAX_NAME_LENGTH = 80
MAX_PROBLEMS = 12
"""Maximum number of errors that are reported at once."""
TableEntry = tuple[str, ArmEntry]
"""Name of a table, and an unchecked row of it."""
CHECKED_SAMPLES = 32
"""Number of samples of a search space that are checked before the search."""


def short_key(key: str) -> str:
    """The first 16 digits of an arm's key: the name of its student in a pack."""
    return key[:16]


@dataclass(frozen=True)
class Arm:
    """One row of a sweep with one seed: an experiment, and its place in the sweep."""

    table: str
    """Name of its table; empty for a grid or a search."""
    label: str
    overrides: Mapping[str, Any]
    """Changes to the base, by dotted path."""
    seed: int
    """Seed of the model."""
    experiment: Experiment
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's results for this row."""
    repeat: int = 0
    """Index of the seed, from 0."""
    duplicates: tuple["Arm", ...] = ()
    """Other rows of the sweep with the same experiment. It is trained once (see `merge_duplicates`)."""

    @cached_property
    def key(self) -> str:
        """Hash of everything that can change the result. The same arm has the same key in other sweeps."""
        return self.experiment.digest()

    @property
    def short_key(self) -> str:
        """The first 16 digits of the key: the name of its student in a pack."""
        return short_key(self.key)

    @property
    def rows(self) -> tuple["Arm", ...]:
        """This row and its duplicates."""
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
    """A validated sweep."""

    spec: SweepSpec
    base: Mapping[str, Any]
    """Document of the base, after the sweep's `overrides`."""
    source: str
    """Path of the sweep's file, for error messages."""
    rows: tuple[Arm, ...]
    """All rows with all seeds, in the order of the document; empty for Optuna."""

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The distinct experiments, in the order of the document, each with its duplicates."""
        return merge_duplicates(self.rows)

    @property
    def named_experiments(self) -> list[tuple[str, Experiment]]:
        """The distinct experiments with their names in errors; for Optuna the base alone, without a name."""
        return [(f"arm {arm.title}", arm.experiment) for arm in self.arms] or [("", self.base_experiment)]

    @property
    def base_experiment(self) -> Experiment:
        """The base experiment."""
        return parse_experiment(self.base, source=f"{self.source}: base")

    @property
    def batch(self) -> int:
        """Number of arms that Optuna proposes at a time: the size of a pack."""
        spec = self.spec
        limit = spec.limits.virtual_trials // spec.seeds
        size = {"auto": min(8, limit), "off": 1}.get(str(spec.pack_limit)) or min(int(spec.pack_limit), limit)
        return max(1, min(size, spec.optuna.arms)) if spec.optuna else 0

    def propose(self, number: int, overrides: Mapping[str, Any]) -> tuple[Arm, ...]:
        """The rows of an arm that Optuna proposed, one for each seed.

        Raises:
            InputError: If it is no experiment.
        """
        return make_rows(
            self.spec,
            self.base,
            [("", _make_entry(f"{number}: {describe_overrides(overrides)}", overrides))],
            self.source,
        )

    def added(self, label: str, overrides: Mapping[str, Any]) -> tuple[Arm, ...]:
        """The rows of an arm that was added while the sweep runs, one for each seed.

        Raises:
            InputError: If it is no experiment.
        """
        entry = _make_entry(label or describe_overrides(overrides), overrides)
        return make_rows(self.spec, self.base, [("", entry)], self.source)


def build_sweep(spec: SweepSpec, base: Mapping[str, Any], source: str) -> Sweep:
    """Validate a sweep and all its arms; `base` is the base's document, `source` the sweep's file, for errors.

    Raises:
        InputError: If the base or an arm is no experiment; it names the arm and the path. If arms answer different
            questions (`spec.protocol`), no column says so and `compare_anyway` does not either.
    """
    changed = apply_overrides(base, spec.overrides, f"{source}: overrides")
    experiment = parse_experiment(changed, source=f"{source}: base")
    spec = with_task_metric(spec, experiment, source)
    _check_evaluation_interval(spec, experiment, source)
    rows = make_rows(spec, changed, list(list_table_entries(spec)), source)
    if spec.reference and not spec.optuna and spec.reference not in {row.label for row in rows}:
        labels = ", ".join(dict.fromkeys(row.label for row in rows))
        raise InputError(f"{source}: reference", f"no arm is called {spec.reference!r}", allowed=labels)
    samples = _sample_arms(spec, changed, source) if spec.optuna else ()
    for row in rows or samples:
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
    check_can_take_seats(spec, experiment, rows or samples, source)
    compared = [row for row in rows or samples if not row.repeat]
    if problems := incomparable_arms(spec, experiment, compared, as_compared_results(compared), source=source):
        raise SpecError(_limit_problems(problems, source))
    return Sweep(spec, changed, source, rows)


def make_rows(spec: SweepSpec, base: Mapping[str, Any], entries: Sequence[TableEntry], source: str) -> tuple[Arm, ...]:
    """Validate all rows with all seeds. Reports the errors of all rows together.

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
    """The first errors, because one wrong path is wrong in every arm of a grid."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    rest = InputError(source, f"and {len(problems) - MAX_PROBLEMS} more mistakes, perhaps the same in other arms")
    return [*problems[:MAX_PROBLEMS], rest]


def merge_duplicates(rows: Iterable[Arm]) -> tuple[Arm, ...]:
    """Merge rows that are the same experiment into one arm."""
    groups: dict[str, list[Arm]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return tuple(replace(first, duplicates=tuple(others)) for first, *others in groups.values())


def apply_overrides(base: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a document with new values at dotted paths.

    Raises:
        InputError: If a path leads through something that is no section.
    """
    document = copy.deepcopy(dict(base))
    for path, value in overrides.items():
        set_path(document, path, copy.deepcopy(value), where=f"{where}: {path}")
    return document


def describe_overrides(overrides: Mapping[str, Any]) -> str:
    """Overrides as short text: `layers=4, dim=128`."""
    names = short_names(overrides)
    return ", ".join(f"{names[path]}={_format_value(value)}" for path, value in overrides.items()) or "the base"


def swept_values(rows: Sequence[Arm], *, among: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """For each row, the values of all paths that any row changes, under short names.

    A section is represented by its kind. A path that does not exist in a row has the value None. `among` are the
    overrides of all rows, if the given ones are a part of them.
    """
    paths = _changed_paths([row.overrides for row in rows] if among is None else among)
    names = short_names(paths)
    documents = (row.experiment.resolved() for row in rows)
    return [{names[path]: _value_at(document, path) for path in paths} for document in documents]


def as_compared_results(rows: Sequence[Arm]) -> list[ComparedResult]:
    """The rows as results of one table, whose columns are the changed paths."""
    return [
        ComparedResult(row.row_name, dotted(row.experiment.resolved()), shown=dotted(values))
        for row, values in zip(rows, changed_values(rows), strict=True)
    ]


def changed_values(rows: Sequence[Arm]) -> list[dict[str, Any]]:
    """The same as `swept_values`, under full dotted paths."""
    paths = _changed_paths([row.overrides for row in rows])
    documents = (row.experiment.resolved() for row in rows)
    return [{path: _value_at(document, path) for path in paths} for document in documents]


def _changed_paths(overrides: Iterable[Mapping[str, Any]]) -> list[str]:
    """Paths of single values. An override of a section counts as one path for each of its keys."""
    paths: dict[str, None] = {}
    for changes in overrides:
        for path, value in changes.items():
            inner = {f"{path}.{key}": None for key in value} if isinstance(value, Mapping) else {path: None}
            paths |= inner
    return list(paths)


def _value_at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    if isinstance(value, Mapping):
        return value.get("kind") or json.dumps(value, sort_keys=True)
    return json.dumps(value) if isinstance(value, list) else value


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = [str(value["kind"])] if "kind" in value else []
        inner += [f"{key}={_format_value(each)}" for key, each in value.items() if key != "kind"]
        return " ".join(inner)
    return f"{value:g}" if isinstance(value, float) else str(value)


def arm_name(sweep: str, table: str, label: str, *, seed: int) -> str:
    """Name of an arm's experiment: sweep, table, label and seed, reduced to the characters that names may contain."""
    text = "-".join(part for part in (sweep, table, label) if part)
    plain, ending = re.sub(r"[^A-Za-z0-9._]+", "-", text), f"-s{seed}"
    return plain[: MAX_NAME_LENGTH - len(ending)].rstrip("-.") + ending


def _make_entry(label: str, overrides: Mapping[str, Any]) -> ArmEntry:
    """A generated row. Its label may be longer than the limit for labels in documents."""
    return ArmEntry.model_construct(label=label, overrides=overrides)


def list_table_entries(spec: SweepSpec) -> Iterable[TableEntry]:
    """The rows of a document, without seeds, in its order."""
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
    """Check random samples of a search space, because the arms that Optuna will propose are not known yet."""
    space = spec.optuna.space if spec.optuna else {}
    samples = [sample_overrides(space, RandomSampler("trial", number)) for number in range(CHECKED_SAMPLES)]
    return make_rows(
        spec, base, [("", _make_entry(describe_overrides(overrides), overrides)) for overrides in samples], source
    )


def load_sweep(path: str | Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Read a sweep and validate all its arms.

    Args:
        path: The file, or the name of a preset.
        overrides: `dotted.path=value` each, of the sweep's document. A field of the base is below `overrides`:
            `overrides.method.dim=64`.

    Raises:
        InputError: If the file, the base or an arm is wrong.
    """
    file, source = spec_file(path), str(path)
    text = read_text(file)
    document = read_yaml(text, source)
    if "base" not in document and {"backbone", "method"} <= document.keys():
        raise InputError(source, "it is an experiment, not a sweep: it has no `base`", fix=f"side4video run {source}")
    for override in overrides:
        apply_override(document, override)
    spec = parse_document(SweepSpec, document, source=source, text=text)
    base = spec.base
    if isinstance(base, str):
        found = base_file(file, base)
        base = read_yaml(read_text(found), str(found))
    return build_sweep(spec, base, source)
