"""Compares the heads and classes of data with those of a trained model."""

from collections.abc import Mapping, Sequence

from side4video.core.errors import InputError


def check_heads(wanted: Mapping[str, Sequence[str]], trained: Mapping[str, Sequence[str]], *, where: str) -> None:
    """Check that data have the heads and classes that a model was trained with, in the same order.

    Raises:
        InputError: They have others, or the same in another order.
    """
    for head, names in wanted.items():
        if list(trained.get(head, ())) != list(names) or len(trained) != len(wanted):
            raise InputError(
                where,
                f"the classes of {head} in the data are not those that it was trained with",
                allowed="the same heads and classes, in the same order",
                fix="give both data sets the same head_class_names",
            )
