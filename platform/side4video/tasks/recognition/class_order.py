"""Puts the rows of a classifier into the order of a data set's classes."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from side4video.core.errors import InputError
from side4video.data.annotations.tables import shorten_list

OF_TEXTS = ("head.1.features_CE", "head.features_CE", "head.words_CWE")
"""Tensors of a student's module with a row for each class, made of its texts."""
CLASSIFIER = ("head.1.weight", "head.1.bias", *OF_TEXTS)
"""Tensors of a student's module with a row for each class: of a linear classifier, or of those made of texts."""


def in_order_of(
    wanted: Sequence[str], classes: Sequence[str], state: Mapping[str, Tensor], *, where: str
) -> dict[str, Tensor]:
    """The student's tensors with the classifier's rows in the order of `wanted`; now they are in that of `classes`.

    Raises:
        InputError: The names are not the same; some that differ are named.
    """
    if sorted(wanted) != sorted(classes):
        missing = [name for name in wanted if name not in set(classes)]
        unknown = [name for name in classes if name not in set(wanted)]
        parts = [f"the data set has {shorten_list(missing)}, which the model does not have"] if missing else []
        parts += [f"the model has {shorten_list(unknown)}, which the data set does not have"] if unknown else []
        raise InputError(where, "; ".join(parts), allowed="the same classes, in any order", fix="name the same classes")
    position = {name: number for number, name in enumerate(classes)}
    rows = [position[name] for name in wanted]
    return {name: tensor[rows].contiguous() if name in CLASSIFIER else tensor for name, tensor in state.items()}
