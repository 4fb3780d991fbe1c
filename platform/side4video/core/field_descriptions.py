"""What the fields of documents are for: the docstrings below them, read when somebody asks.

Pydantic could read them when it makes a class (`use_attribute_docstrings`). That parses the source of each of 160
classes, which takes more time than checking a document.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType

from pydantic import BaseModel


@cache
def field_descriptions(document: type[BaseModel]) -> Mapping[str, str]:
    """The description of each field that has one, by name. An inherited field keeps the one of the class it is of."""
    found = {}
    for name, field in document.model_fields.items():
        owner = next((each for each in document.__mro__ if name in vars(each).get("__annotations__", {})), document)
        if text := field.description or _docstrings(owner).get(name):
            found[name] = text
    return MappingProxyType(found)


@cache
def _docstrings(document: type) -> Mapping[str, str]:
    """The texts that follow the annotated names in the body of a class; none if its source is not there."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(document)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
