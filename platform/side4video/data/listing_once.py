"""Lists the clips of a data set once for a whole command.

    with listing_once():
        dataset.splits(), dataset.clips("train"), dataset.fingerprint()    # files are listed and read once

Outside of such a block each call looks at the files again, so that a program sees what changed between two commands.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Owner = TypeVar("Owner")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_kept: ContextVar[dict[tuple[object, ...], Any] | None] = ContextVar("kept listings", default=None)


@contextmanager
def listing_once() -> Iterator[None]:
    """In the block, a data set lists its clips once; equal documents share the listing.

    A block inside another one is part of it. Threads that are started inside do not belong to it.
    """
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def listed_once(
    method: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """Decorates a method of a data set whose result depends on the document, its arguments and files.

    Inside of `listing_once`, later calls return a copy of the first result (`copy.copy`). Errors are not kept.
    """

    @wraps(method)
    def once(self: Owner, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        kept = _kept.get()
        if kept is None:
            return method(self, *args, **kwargs)
        key = (method, repr(self), *args, *kwargs.items())
        if key not in kept:
            kept[key] = method(self, *args, **kwargs)
        return copy.copy(kept[key])

    return once
