"""The search space of a random or Optuna search: dimensions by dotted path.

A value of a `choice` may contain dimensions of its own. They are drawn only if that value is chosen. So a search over
methods is conditional: in `method: {kind: choice, values: [{kind: side4video, dim: {kind: choice, ...}}, {kind:
linear}]}`, `dim` is drawn only for `side4video`.
"""

import random
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError, field_validator, model_validator

from side4video.core.bounds import Count
from side4video.core.seeds import derive_seed
from side4video.core.spec import Spec

SIGNIFICANT_DIGITS = 3
"""Drawn numbers are rounded to this many significant digits. Finer steps would only produce arms that are nearly the
same."""


class _Range(Spec):
    """A range between two bounds."""

    @model_validator(mode="after")
    def bounds_ascend(self) -> Self:
        """The lower bound is below the upper bound."""
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if low >= high:
            raise ValueError(f"low {low} is not below high {high} · allowed: low < high · fix: swap them")
        return self


class Choice(Spec):
    """One of several values, all equally likely."""

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Any, ...], Field(min_length=1)]
    """The possible values: numbers, texts, lists or sections. A section may contain dimensions of its own."""

    @field_validator("values")
    @classmethod
    def inner_dimensions_are_right(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Nested dimensions are checked too."""
        for value in values:
            _check_nested(value)
        return values


class Uniform(_Range):
    """A number between two bounds."""

    kind: Literal["uniform"] = "uniform"
    low: FiniteFloat
    """Lower bound."""
    high: FiniteFloat
    """Upper bound."""


class LogUniform(_Range):
    """A number between two bounds, uniform on a logarithmic scale: for learning rates, for example."""

    kind: Literal["log-uniform"] = "log-uniform"
    low: Annotated[FiniteFloat, Field(gt=0)]
    """Lower bound, above zero."""
    high: Annotated[FiniteFloat, Field(gt=0)]
    """Upper bound."""


class Integer(_Range):
    """An integer between two bounds, both included."""

    kind: Literal["integer"] = "integer"
    low: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    """Lower bound."""
    high: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    """Upper bound."""
    step: Count = 1
    """Distance between possible values, counted from `low`."""


Dimension = Annotated[Choice | Uniform | LogUniform | Integer, Field(discriminator="kind")]
KINDS = frozenset({"choice", "uniform", "log-uniform", "integer"})
_dimension: TypeAdapter[Choice | Uniform | LogUniform | Integer] = TypeAdapter(Dimension)


class Sampler(Protocol):
    """Draws values for the dimensions: at random, or from the results of earlier arms (Optuna)."""

    def choose(self, name: str, count: int) -> int:
        """Index of one of `count` values."""
        ...

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:
        """A number between two bounds."""
        ...

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:
        """A whole number between two bounds."""
        ...


class RandomSampler:
    """Draws at random. The same seed and the same order of calls give the same values."""

    def __init__(self, *seed: int | str) -> None:
        """Derive the random generator from the parts of a seed."""
        self._generator = random.Random(derive_seed(*seed))  # noqa: S311 - no secret

    def choose(self, name: str, count: int) -> int:  # noqa: ARG002 - a protocol's names
        """Index of one of `count` values."""
        return self._generator.randrange(count)

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:  # noqa: ARG002
        """A number between two bounds."""
        if is_log:
            return exp(self._generator.uniform(log(low), log(high)))
        return self._generator.uniform(low, high)

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:  # noqa: ARG002
        """A whole number between two bounds."""
        return self._generator.randrange(low, high + 1, step)


def sample_overrides(space: Mapping[str, Any], sampler: Sampler) -> dict[str, Any]:
    """Draw one arm: a value for each path of a search space.

    The sampler is asked in the space's order, and names a dimension inside a branch by the branch.
    """
    return {path: _sample(dimension, path, sampler) for path, dimension in space.items()}


def _sample(value: Any, name: str, sampler: Sampler) -> Any:
    if isinstance(value, Mapping):
        if not _is_dimension(value):
            return {key: _sample(inner, f"{name}.{key}", sampler) for key, inner in value.items()}
        value = _dimension.validate_python(value)
    match value:
        case Choice(values=values):
            index = sampler.choose(name, len(values)) if len(values) > 1 else 0
            return _sample(values[index], f"{name}[{index}]", sampler)
        case Uniform(low=low, high=high):
            return _round_in_bounds(sampler.number(name, low, high, is_log=False), low, high)
        case LogUniform(low=low, high=high):
            return _round_in_bounds(sampler.number(name, low, high, is_log=True), low, high)
        case Integer(low=low, high=high, step=step):
            return sampler.integer(name, low, high, step=step)
        case list() | tuple():
            return [_sample(inner, f"{name}.{index}", sampler) for index, inner in enumerate(value)]
        case _:
            return value


def _is_dimension(section: Mapping[str, Any]) -> bool:
    # A section's kind may be drawn itself, and is no text then.
    return isinstance(section.get("kind"), str) and section["kind"] in KINDS


def _round_in_bounds(number: float, low: float, high: float) -> float:
    # A bound with more digits stays a bound.
    return min(max(float(f"{number:.{SIGNIFICANT_DIGITS}g}"), low), high)


def _check_nested(value: Any) -> None:
    if isinstance(value, Mapping):
        if _is_dimension(value):
            try:
                _dimension.validate_python(value)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                raise ValueError(f"the dimension {dict(value)} inside a choice: {place}: {first['msg']}") from None
        for inner in value.values():
            _check_nested(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            _check_nested(inner)
