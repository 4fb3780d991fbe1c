"""Unions of documents that build the validator of a member when a document has it.

An experiment may have any of 30 methods and 20 data sets. To check one document, Pydantic would build the validators of
all of them, which takes longer than the check.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class ByKind:
    """In the annotation of a union: the field `kind` of a section says which member it is.

    `Annotated[A | B, ByKind()]` takes what `Annotated[A | B, Field(discriminator="kind")]` takes, with the same errors
    and the same JSON Schema.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A choice among functions, each of which calls the validator of its member."""
        del handler  # it would build all members

        def write(schema: CoreSchema, write_schema: GetJsonSchemaHandler) -> JsonSchemaValue:
            del schema
            union: Any = Annotated[source, Field(discriminator="kind")]
            return write_schema(TypeAdapter(union).core_schema)

        return core_schema.tagged_union_schema(
            {
                kind: core_schema.no_info_plain_validator_function(_check(each))
                for each in get_args(source)
                for kind in _kinds(each)
            },
            discriminator="kind",
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, serialize: serialize(value), schema=core_schema.any_schema()
            ),
            metadata={"pydantic_js_functions": [write]},
        )


def _kinds(member: type[BaseModel]) -> tuple[str, ...]:
    return get_args(member.model_fields["kind"].annotation)


def _check(member: type[BaseModel]) -> Callable[[Any], BaseModel]:
    return lambda value: member.model_validate(value)
