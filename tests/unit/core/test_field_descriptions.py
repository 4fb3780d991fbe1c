"""Descriptions of fields are those that Pydantic reads with `use_attribute_docstrings`."""

from typing import Annotated, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field

from side4video.core.field_descriptions import field_descriptions
from side4video.models.methods import Method


class Plain(BaseModel):
    """A document."""

    first: int = 1
    """Of the first.

    In two parts.
    """
    second: int = 2
    third: Annotated[int, Field(description="given")] = 3
    """Not read."""


class Below(Plain):
    """One that changes fields."""

    first: int = 4
    second: int = 5
    """Of the second."""
    named: int = 6
    "Of one line."


class PlainOfPydantic(BaseModel):
    """`Plain`."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    first: int = 1
    """Of the first.

    In two parts.
    """
    second: int = 2
    third: Annotated[int, Field(description="given")] = 3
    """Not read."""


class BelowOfPydantic(PlainOfPydantic):
    """`Below`."""

    first: int = 4
    second: int = 5
    """Of the second."""
    named: int = 6
    "Of one line."


@pytest.mark.parametrize(("ours", "theirs"), [(Plain, PlainOfPydantic), (Below, BelowOfPydantic)])
def test_they_are_those_that_pydantic_reads(ours, theirs):
    fields = {name: field.description for name, field in theirs.model_fields.items() if field.description}
    assert field_descriptions(ours) == fields
    assert len(fields) >= 2


def test_each_field_of_each_method_has_one():
    for method in get_args(get_args(Method)[0]):
        assert set(field_descriptions(method)) >= set(method.model_fields) - {"kind", "size"}, method


def test_a_class_without_a_source_has_none():
    space: dict = {"BaseModel": BaseModel}
    exec("class Made(BaseModel):\n    one: int = 1\n    'Of one.'\n", space)  # noqa: S102
    assert field_descriptions(space["Made"]) == {}
