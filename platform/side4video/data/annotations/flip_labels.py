"""How a horizontal flip changes words and labels: left becomes right, clockwise becomes anticlockwise."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from side4video.core.errors import InputError
from side4video.core.spec import Spec
from side4video.data.annotations.tables import shorten_list

_PAIRS = (("left", "right"), ("leftward", "rightward"), ("leftwards", "rightwards"), ("clockwise", "anticlockwise"))
_SYNONYMS = {"counterclockwise": "anticlockwise", "counter-clockwise": "anticlockwise"}
_SWAPPED = {word: other for a, b in _PAIRS for word, other in ((a, b), (b, a))}
_WORDS = "|".join(sorted({*_SWAPPED, *_SYNONYMS}, key=len, reverse=True))
_SIDED = re.compile(rf"(?<![A-Za-z])(?!right[ _]out(?![A-Za-z]))({_WORDS})(?![A-Za-z])", re.IGNORECASE)
"""In `pulling it right out`, a class of Something-Something, "right" is not a side."""


class FlipByNameSpec(Spec):
    """Classes whose names differ only in left and right (or clockwise and anticlockwise) are swapped.

    Flipping is an error if a name contains such a word and has no counterpart.
    """

    kind: Literal["by-name"] = "by-name"


class FlipPairsSpec(Spec):
    """The given pairs of classes are swapped; other classes keep their label. Without pairs, flips change no label."""

    kind: Literal["pairs"] = "pairs"
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of class names, for example `[[turn left, turn right]]`."""

    @model_validator(mode="after")
    def each_class_has_one_mirror_image(self) -> "FlipPairsSpec":
        """Each class is in one pair at most."""
        names = [name for pair in self.pairs for name in pair]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the class {repeated[0]!r} is given two mirror images")
        return self


class FlipDisallowedSpec(Spec):
    """A flipped clip has no label, so clips must not be flipped."""

    kind: Literal["refused"] = "refused"


FlipLabels = Annotated[FlipByNameSpec | FlipPairsSpec | FlipDisallowedSpec, Field(discriminator="kind")]


def flip_text(text: str) -> str:
    """The text for the flipped picture, with left and right swapped."""
    return _SIDED.sub(lambda match: _match_case(match[0], _SWAPPED[_normalize(match[0])]), text)


def flip_by_name(classes: Sequence[str]) -> tuple[Mapping[int, int], tuple[str, ...]]:
    """Pair classes whose names differ only in left and right.

    Returns:
        The label permutation (identity for names without such words), and the names that have such a word but no
        partner: while there are any, the permutation is not to be trusted.
    """
    position = {_canonical(name): index for index, name in enumerate(classes)}
    permutation = {index: position.get(_canonical(flip_text(name))) for index, name in enumerate(classes)}
    unpaired = tuple(
        name for index, name in enumerate(classes) if _SIDED.search(name) and permutation[index] in (None, index)
    )
    return {index: index if other is None else other for index, other in permutation.items()}, unpaired


def flipped_labels(mirror: FlipLabels, classes: Sequence[str]) -> Mapping[int, int] | None:
    """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known.

    Raises:
        InputError: A pair names what is no class.
    """
    if isinstance(mirror, FlipDisallowedSpec):
        return None
    if isinstance(mirror, FlipByNameSpec):
        permutation, unpaired = flip_by_name(classes)
        return None if unpaired else permutation
    permutation = {index: index for index in range(len(classes))}
    for pair in mirror.pairs:
        for name, other in (pair, pair[::-1]):
            if name not in classes:
                raise InputError("data.dataset.mirror.pairs", f"{name!r} is no class", allowed=shorten_list(classes))
            permutation[classes.index(name)] = classes.index(other) if other in classes else -1
    return permutation


def _normalize(word: str) -> str:
    return _SYNONYMS.get(word.lower(), word.lower())


def _canonical(name: str) -> str:
    return _SIDED.sub(lambda match: _normalize(match[0]), name).lower()


def _match_case(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
