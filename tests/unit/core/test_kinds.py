"""`ByKind` takes what Pydantic's own discriminated union takes, and builds only the members that documents have."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from side4video.core.kinds import ByKind
from side4video.core.spec import Spec

BUILT: list[str] = []


class Leaf(Spec):
    """What a section may hold."""

    kind: Literal["leaf"] = "leaf"
    size: int = 1
    """Its size."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        BUILT.append(cls.__name__)
        return handler(source)


class Twig(Leaf):
    """What else it may hold, and more of it."""

    kind: Literal["twig"] = "twig"
    leaves: tuple[Leaf, ...] = ()
    """Its leaves."""


OURS = TypeAdapter(Annotated[Leaf | Twig, ByKind()])
THEIRS = TypeAdapter(Annotated[Leaf | Twig, Field(discriminator="kind")])
WRONG = (
    {},
    {"kind": "branch"},
    {"kind": "leaf", "size": "large"},
    {"kind": "leaf", "colour": 1, "size": True},
    {"kind": "twig", "leaves": [{"kind": "leaf", "size": 1.5}, {"kind": "twig"}]},
    ["leaf"],
    None,
)


def errors(adapter: TypeAdapter, document: object) -> list:
    with pytest.raises(ValidationError) as found:
        adapter.validate_python(document)
    return [{key: each[key] for key in ("type", "loc", "msg", "input")} for each in found.value.errors()]


@pytest.mark.parametrize("document", WRONG, ids=str)
def test_the_errors_are_those_of_pydantics_union(document):
    assert repr(errors(OURS, document)) == repr(errors(THEIRS, document))


@pytest.mark.parametrize("document", [{"kind": "leaf"}, {"kind": "twig", "leaves": [{"kind": "leaf", "size": 3}]}])
def test_so_are_values_and_what_is_written_of_them(document):
    ours, theirs = OURS.validate_python(document), THEIRS.validate_python(document)
    assert ours == theirs
    assert type(ours) is type(theirs)
    assert OURS.validate_python(ours) is ours
    assert OURS.dump_json(ours) == THEIRS.dump_json(theirs)
    assert OURS.validate_json(OURS.dump_json(ours)) == ours


def test_so_is_the_json_schema_with_descriptions():
    assert OURS.json_schema() == THEIRS.json_schema()
    assert OURS.json_schema()["$defs"]["Twig"]["properties"]["size"]["description"] == "Its size."


@pytest.mark.parametrize(
    ("marker", "expected"), [(ByKind(), ["Leaf"]), (Field(discriminator="kind"), ["Leaf", "Twig"])]
)
def test_a_member_is_built_when_a_document_has_it(marker, expected):
    """The second case is the broken twin: Pydantic's union builds both."""

    class First(Leaf):
        kind: Literal["leaf"] = "leaf"

    class Second(Twig):
        kind: Literal["twig"] = "twig"

    BUILT.clear()
    TypeAdapter(Annotated[First | Second, marker]).validate_python({"kind": "leaf"})
    assert sorted(set(BUILT) - {"Leaf"}) == [{"Leaf": "First", "Twig": "Second"}[each] for each in expected]
