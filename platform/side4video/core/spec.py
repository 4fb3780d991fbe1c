"""The base of all specs (YAML documents of users).

A spec is validated completely and is immutable; derived values are methods. Unknown keys are errors, because a typo
that is ignored would waste a training run.
"""

from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from side4video.core.field_descriptions import field_descriptions
from side4video.core.number_fields import wants_numbers, without_booleans

ADDED_LATER = object()
"""Marks a field that documents of version 0.1.0 did not have. While it has its default, it is not part of a digest."""
_PATH = object()
PathText = Annotated[str, _PATH]
"""A text field that names a file or a folder: a path of this machine, or an address such as `s3://bucket/clips`."""


class Spec(BaseModel):
    """A frozen, closed Pydantic document.

    A subclass may define presets: sets of defaults that the value of one field selects. Explicit values override the
    preset. The resolved document contains all values that are used.
    """

    # Validators are built when a document is read: most programs read one or two kinds of all.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    """`{field: {value of that field: {other field: default}}}`."""
    READS_BOOLEANS: ClassVar[frozenset[str]] = frozenset()
    """Fields of numbers whose own validator gives `true` and `false` a meaning."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with what each field is for."""
        written = handler(schema)
        properties = handler.resolve_ref_schema(written).get("properties", {})
        for name, text in field_descriptions(cls).items():
            # A section whose own docstring says the same does not say it twice.
            if name in properties and handler.resolve_ref_schema(properties[name]).get("description") != text:
                properties[name]["description"] = text
        return written

    @model_validator(mode="before")
    @classmethod
    def booleans_are_no_numbers(cls, document: Any) -> Any:
        """`true` is no 1: where a number is wanted, it stands for something that no field takes."""
        if not isinstance(document, Mapping):
            return document
        changed = {
            name: without_booleans(value)
            for name, value in document.items()
            if name in cls.model_fields
            and name not in cls.READS_BOOLEANS
            and wants_numbers(cls.model_fields[name].annotation)
        }
        return {**document, **changed} if changed else document

    @model_validator(mode="before")
    @classmethod
    def presets_fill_what_is_not_given(cls, document: Any) -> Any:
        """Fill in the preset's value of each field that the document does not set."""
        if not isinstance(document, Mapping) or not cls.PRESETS:
            return document
        filled = dict(document)
        for field, presets in cls.PRESETS.items():
            chosen = document.get(field, cls.model_fields[field].default)
            values = presets.get(chosen, {}) if isinstance(chosen, str) else {}
            for name, value in cls.fitted_preset(values, document).items():
                filled.setdefault(name, value)
        return filled

    @classmethod
    def fitted_preset(cls, values: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG003
        """A preset's values, changed to fit other fields of the document; here they stay as they are."""
        return values

    def without_new_defaults(self, dump: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the document: `dump`, its JSON values, without new fields that have their default.

        So documents that were written before a field existed keep their digest. Fields that `dump` leaves out stay out.
        """
        kept = dict(dump)
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if ADDED_LATER in field.metadata and value == field.default:
                kept.pop(name, None)
            elif isinstance(value, Spec) and isinstance(kept.get(name), Mapping):
                kept[name] = value.without_new_defaults(kept[name])
        return kept

    def identifying_values(self, *, exclude: Set[str] = frozenset()) -> dict[str, Any]:
        """The JSON values that identify the document, without some fields and without new ones at their default."""
        return self.without_new_defaults(self.model_dump(mode="json", exclude=set(exclude)))

    def respelled(self, dump: Mapping[str, Any], spell: Callable[[str], str]) -> dict[str, Any]:
        """`dump`, its JSON values, with `spell` applied to each `PathText` field, of nested specs too."""
        changed = dict(dump)
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in changed:
                continue
            if isinstance(value, Spec):
                changed[name] = value.respelled(changed[name], spell)
            elif _PATH in field.metadata:
                changed[name] = spell(value)
        return changed

    def paths(self, prefix: str = "") -> dict[str, str]:
        """The text of each `PathText` field, of nested specs too, by dotted field name; empty texts included."""
        found: dict[str, str] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Spec):
                found |= value.paths(f"{prefix}{name}.")
            elif _PATH in field.metadata:
                found[f"{prefix}{name}"] = value
        return found


def wrong(where: str, found: str, *, allowed: str, fix: str) -> PydanticCustomError:
    """An error for a validator of several fields; `where` is the field at fault."""
    message = f"{found} · allowed: {allowed} · fix: {fix}"
    return PydanticCustomError("located", "{message}", {"message": message, "where": where})
