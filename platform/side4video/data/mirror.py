"""What a horizontal flip does to words: left becomes right, clockwise becomes anticlockwise."""

import re
from collections.abc import Mapping, Sequence

_PAIRS = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("clockwise", "anticlockwise"),
)
_SYNONYMS = {"counterclockwise": "anticlockwise", "counter-clockwise": "anticlockwise"}
_SWAPPED = {word: other for a, b in _PAIRS for word, other in ((a, b), (b, a))}
_WORDS = "|".join(sorted({*_SWAPPED, *_SYNONYMS}, key=len, reverse=True))
_SIDED = re.compile(rf"(?<![A-Za-z])({_WORDS})(?![A-Za-z])", re.IGNORECASE)


def mirror_text(text: str) -> str:
    """The sentence for the mirrored picture; unchanged where it knows no left and right."""
    return _SIDED.sub(lambda match: _like(match[0], _SWAPPED[_plain(match[0])]), text)


def mirror_by_name(classes: Sequence[str]) -> tuple[Mapping[int, int], tuple[str, ...]]:
    """Pair classes whose names differ by left and right.

    Returns:
        The label permutation (identity for names without such words), and the names that have such a word but no
        partner: while there are any, the permutation is not to be trusted.
    """
    position = {_canonical(name): index for index, name in enumerate(classes)}
    permutation = {index: position.get(_canonical(mirror_text(name))) for index, name in enumerate(classes)}
    unpaired = tuple(
        name for index, name in enumerate(classes) if _SIDED.search(name) and permutation[index] in (None, index)
    )
    return {index: index if other is None else other for index, other in permutation.items()}, unpaired


def _plain(word: str) -> str:
    return _SYNONYMS.get(word.lower(), word.lower())


def _canonical(name: str) -> str:
    return _SIDED.sub(lambda match: _plain(match[0]), name).lower()


def _like(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
