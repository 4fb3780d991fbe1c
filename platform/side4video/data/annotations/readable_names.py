"""Class names as words: text towers read words, and the files of many data sets join them."""

import re
from typing import Literal

ClassNameStyle = Literal["file", "words"]
"""Class names as in the annotation files, or divided into words."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def split_camel_case(name: str) -> str:
    """`ApplyEyeMakeup` as `Apply Eye Makeup`; an abbreviation stays one word: `ReplaceCDDrive`, `Replace CD Drive`."""
    return _WORD_BOUNDARY.sub(" ", name)


def split_joined(name: str, joint: str) -> str:
    """The words that `joint` joins in the name, divided by spaces: `brush_hair` as `brush hair`."""
    return " ".join(name.split(joint))
