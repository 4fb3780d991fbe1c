"""What a format says of its files: which tensor of the authors becomes which of ours. No torch here.

Names of the authors are facts of their repositories; each file of `formats` says of which.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from side4video.core.errors import InputError

Change = Literal[
    "same",
    "pointwise",
    "depthwise",
    "depthwise-1d",
    "over-time",
    "stem",
    "over-space",
    "strided",
    "joined",
    "first-third",
    "middle-third",
    "last-third",
    "tap-before",
    "tap-own",
    "tap-after",
    "transposed",
    "drop-1",
    "drop-2",
]
"""How the shape changes; `changes` computes it."""


@dataclass(frozen=True)
class Pair:
    """One of our tensors, and what it is made of."""

    ours: str
    """Its name in our state: of the student's module, or of the tower."""
    theirs: tuple[str, ...]
    """The authors' names."""
    change: Change = "same"


@dataclass(frozen=True)
class Reading:
    """What a format reads off the names and shapes of a file."""

    backbone: Mapping[str, Any]
    """The section of the document, without `weights`; empty where the file has no tower."""
    method: Mapping[str, Any]
    """The section of the document."""
    student: tuple[Pair, ...]
    """All tensors of the student's module, but those of a classifier made of texts."""
    tower: Mapping[str, str] = field(default_factory=dict)
    """The authors' names of the frozen tower's tensors, by those of the library; empty where the file has no tower."""
    tower_pairs: tuple[Pair, ...] = ()
    """The frozen tower's tensors whose shape changes, or that are made of several; `ours` are the library's names."""
    task: Mapping[str, Any] = field(default_factory=lambda: {"kind": "recognition"})
    """The section of the document."""
    frames: int = 8
    """`data.frames`."""
    classifier: str = ""
    """The authors' name of the classifier's matrix [classes, features]; empty where there is none."""
    unused: tuple[str, ...] = ()
    """Tensors of the tower that the files do not have, because the method does not use them."""
    copied: Mapping[str, str] = field(default_factory=dict)
    """Tensors of the student's module that are the frozen tower's, by name: those of `unused` in a trained tower."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The authors' names of the text tower, by CLIP's, where its features of the class names are the classifier."""
    has_texts_elsewhere: bool = False
    """Whether the classifier is made of texts, and the file has no text tower: it is of the CLIP that is given."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the student's module that the files do not hold, because the authors fix them."""
    assumed: tuple[str, ...] = ()
    """Fields of the document that the file does not determine, each as `path value`, with what else it may be."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Patterns of names that are not used, with the reason."""


class FileShapes:
    """The shapes of a file's tensors, by the authors' names."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, where: str) -> None:
        """`where` names the file in errors."""
        self._shapes, self._where = shapes, where

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._shapes)

    def size(self, name: str, axis: int, *, axes: int) -> int:
        """The size of an axis of a tensor that has so many axes.

        Raises:
            InputError: There is no such tensor, or it has another number of axes.
        """
        shape = self._shapes.get(name)
        if shape is None or len(shape) != axes:
            found = f"the tensor {name} is missing" if shape is None else f"the tensor {name} is {list(shape)}"
            raise InputError(self._where, found, allowed=f"a tensor of {axes} axes", fix=_FIX)
        return shape[axis]

    def count(self, prefix: str) -> int:
        """How many modules of a list there are: the largest number behind the prefix, plus 1.

        Raises:
            InputError: There is none.
        """
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        numbers = [int(found[1]) for name in self._shapes if (found := pattern.match(name))]
        if not numbers:
            raise InputError(self._where, f"there is no tensor {prefix}0...", allowed="a whole checkpoint", fix=_FIX)
        return max(numbers) + 1

    def refuse(self, found: str, *, allowed: str, fix: str) -> InputError:
        """The error of a file that cannot be used."""
        return InputError(self._where, found, allowed=allowed, fix=fix)


_FIX = "take the file as its authors released it; `side4video import --help` lists the formats"


def weight_and_bias(ours: str, theirs: str, change: Change = "same") -> Iterator[Pair]:
    """A layer's matrix, whose shape changes, and its bias."""
    yield Pair(f"{ours}.weight", (f"{theirs}.weight",), change)
    yield Pair(f"{ours}.bias", (f"{theirs}.bias",))


def layers(ours: str, theirs: str, names: Mapping[str, str]) -> Iterator[Pair]:
    """Layers by their names below a module of ours, with their names below one of the authors'."""
    for own, name in names.items():
        yield from weight_and_bias(f"{ours}{own}", f"{theirs}{name}")


def batch_norm(ours: str, theirs: str) -> Iterator[Pair]:
    """A batch norm with its running statistics."""
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield Pair(f"{ours}.{name}", (f"{theirs}.{name}",))


def attention(ours: str, leave: str, theirs: str) -> Iterator[Pair]:
    """Torch's multi-head attention: `ours` is the layer to queries, keys and values, `leave` the one out."""
    yield Pair(f"{ours}.weight", (f"{theirs}.in_proj_weight",))
    yield Pair(f"{ours}.bias", (f"{theirs}.in_proj_bias",))
    yield from weight_and_bias(leave, f"{theirs}.out_proj")


def depthwise(ours: str, theirs: str, change: Literal["depthwise", "depthwise-1d"] = "depthwise") -> Iterator[Pair]:
    """A depthwise convolution over time."""
    yield Pair(f"{ours}.weight_3D", (f"{theirs}.weight",), change)
    yield Pair(f"{ours}.bias_D", (f"{theirs}.bias",))


def over_time(ours: str, theirs: str, change: Literal["over-time", "stem"] = "over-time") -> Iterator[Pair]:
    """A dense convolution over time."""
    yield Pair(f"{ours}.weight_KOI", (f"{theirs}.weight",), change)
    yield Pair(f"{ours}.bias_O", (f"{theirs}.bias",))


def below(prefix: str, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs with a module of ours in front."""
    for pair in pairs:
        yield Pair(f"{prefix}{pair.ours}", pair.theirs, pair.change)
