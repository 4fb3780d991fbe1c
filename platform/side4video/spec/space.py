"""What a random or an Optuna search draws from: dimensions by dotted path, and branches of them.

A value of a `choice` may hold dimensions of its own; they exist only where that value is chosen. So a search over the
members of a union (`method: {kind: choice, values: [{kind: side4video, dim: {kind: choice, ...}}, {kind: linear}]}`)
is conditional without another word.
"""

import random
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, FiniteFloat, PositiveInt, TypeAdapter, ValidationError, field_validator, model_validator

from side4video.core.seeds import derive_seed
from side4video.core.spec import Spec

SIGNIFICANT_DIGITS = 3
"""Of a drawn number: nobody tunes finer, and two arms that differ by less are one."""


class _Range(Spec):
    """Between two bounds."""

    @model_validator(mode="after")
    def bounds_ascend(self) -> Self:
        """The lower one comes first."""
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if low >= high:
            raise ValueError(f"low {low} is not below high {high} · allowed: low < high · fix: exchange them")
        return self


class Choice(Spec):
    """One of some values, each as likely as any other."""

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Any, ...], Field(min_length=1)]
    """Anything the document may hold there; a section may have dimensions inside."""

    @field_validator("values")
    @classmethod
    def inner_dimensions_are_right(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Dimensions inside a value are checked as those outside are."""
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
    """A number between two bounds, each order of magnitude as likely as any other."""

    kind: Literal["log-uniform"] = "log-uniform"
    low: Annotated[FiniteFloat, Field(gt=0)]
    """Lower bound, above zero."""
    high: Annotated[FiniteFloat, Field(gt=0)]
    """Upper bound."""


class Integer(_Range):
    """A whole number between two bounds, both of them possible."""

    kind: Literal["integer"] = "integer"
    low: int
    """Lower bound."""
    high: int
    """Upper bound."""
    step: PositiveInt = 1
    """From one possible number to the next, counted from `low`."""


Dimension = Annotated[Choice | Uniform | LogUniform | Integer, Field(discriminator="kind")]
KINDS = frozenset({"choice", "uniform", "log-uniform", "integer"})
_dimension: TypeAdapter[Choice | Uniform | LogUniform | Integer] = TypeAdapter(Dimension)


class Sampler(Protocol):
    """Who decides: a random generator, or a searcher that has seen how former arms ended."""

    def choose(self, name: str, count: int) -> int:
        """One of `count` possibilities, from 0."""
        ...

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:
        """A number between two bounds."""
        ...

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:
        """A whole number between two bounds."""
        ...


class RandomSampler:
    """Draws by a seed: the same seed and names, the same choices."""

    def __init__(self, *seed: int | str) -> None:
        """Begin the draws that belong to these parts of a seed."""
        self._generator = random.Random(derive_seed(*seed))  # noqa: S311 - no secret

    def choose(self, name: str, count: int) -> int:  # noqa: ARG002 - a protocol's names
        """One of `count` possibilities."""
        return self._generator.randrange(count)

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:  # noqa: ARG002
        """A number between two bounds."""
        if is_log:
            return exp(self._generator.uniform(log(low), log(high)))
        return self._generator.uniform(low, high)

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:  # noqa: ARG002
        """A whole number between two bounds."""
        return self._generator.randrange(low, high + 1, step)


def sample_overrides(space: Mapping[str, Any], chooser: Sampler) -> dict[str, Any]:
    """One arm: a value for each path of a space.

    Args:
        space: Dimensions by dotted path.
        chooser: Who decides; it is asked in the space's order, and names a dimension inside a branch by the branch.
    """
    return {path: _sample(dimension, path, chooser) for path, dimension in space.items()}


def _sample(value: Any, name: str, chooser: Sampler) -> Any:
    if isinstance(value, Mapping):
        if not _is_dimension(value):
            return {key: _sample(inner, f"{name}.{key}", chooser) for key, inner in value.items()}
        value = _dimension.validate_python(value)
    match value:
        case Choice(values=values):
            index = chooser.choose(name, len(values)) if len(values) > 1 else 0
            return _sample(values[index], f"{name}[{index}]", chooser)
        case Uniform(low=low, high=high):
            return _round_in_bounds(chooser.number(name, low, high, is_log=False), low, high)
        case LogUniform(low=low, high=high):
            return _round_in_bounds(chooser.number(name, low, high, is_log=True), low, high)
        case Integer(low=low, high=high, step=step):
            return chooser.integer(name, low, high, step=step)
        case list() | tuple():
            return [_sample(inner, f"{name}.{index}", chooser) for index, inner in enumerate(value)]
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
