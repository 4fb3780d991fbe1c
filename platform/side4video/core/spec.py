"""The base of every document a user writes.

A spec is read once, checked whole, and never edited afterwards; anything derived from it is a function.
Unknown keys are errors: a typo that is silently ignored costs a training run.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Spec(BaseModel):
    """A frozen, closed Pydantic document.

    A subclass may name presets: sets of defaults chosen by one field of its own. A value given beside the
    preset wins over it, so the resolved document always says what was really used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)

    PRESETS: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    """`{field: {value of that field: {other field: default}}}`."""

    @model_validator(mode="before")
    @classmethod
    def presets_fill_what_is_not_given(cls, document: Any) -> Any:
        """Give each field that a chosen preset names, and the document does not, the preset's value."""
        if not isinstance(document, Mapping) or not cls.PRESETS:
            return document
        filled = dict(document)
        for field, presets in cls.PRESETS.items():
            chosen = document.get(field, cls.model_fields[field].default)
            for name, value in presets.get(chosen, {}).items() if isinstance(chosen, str) else ():
                filled.setdefault(name, value)
        return filled


def wrong(where: str, found: str, *, allowed: str, fix: str) -> PydanticCustomError:
    """An error of a cross-field rule, to be raised by a validator: it names the field that is at fault."""
    message = f"{found} · allowed: {allowed} · fix: {fix}"
    return PydanticCustomError("located", "{message}", {"message": message, "where": where})
