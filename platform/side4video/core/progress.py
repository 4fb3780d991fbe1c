"""Where long work on many files says how far it is; a terminal implements it."""

from typing import Protocol


class View(Protocol):
    """Where work says how far it is."""

    def say(self, phase: str) -> None:
        """Something begins whose length is not known."""
        ...

    def tell(self, done: int, total: int) -> None:
        """So many are done."""
        ...
