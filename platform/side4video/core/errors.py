"""Errors that are meant to be read by the person who can mend them.

An `InputError` ends the program with exit code 2 and one line: where, what was found, what is allowed,
the likely fix. Anything else that escapes is a bug of ours and keeps its traceback.
"""


class Side4VideoError(Exception):
    """The root of this project's own errors; the work failed (exit code 1)."""

    exit_code = 1


class Interrupted(Side4VideoError):
    """The work was told to end, and can go on from what it saved (exit code 143, which a shell gives for SIGTERM)."""

    exit_code = 143


class WorkerInterrupted(Interrupted):
    """One worker's machine was told to end; the others saved with it, and the work can go on elsewhere at once."""


class InputError(Side4VideoError):
    """Something the user gave is wrong (exit code 2)."""

    exit_code = 2

    def __init__(self, where: str, found: str, *, allowed: str = "", fix: str = "") -> None:
        """Say where it is (a YAML path, a file and line), what stands there, what may, and what to do."""
        self.where, self.found, self.allowed, self.fix = where, found, allowed, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line, its parts divided by ` · `."""
        parts = [f"{self.where}: {self.found}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return " · ".join(" ".join(part.split()) for part in parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes (loader workers, Ray) with all four parts."""
        return (_restore_input_error, (type(self), self.where, self.found, self.allowed, self.fix))


def _restore_input_error(kind: type[InputError], where: str, found: str, allowed: str, fix: str) -> InputError:
    return kind(where, found, allowed=allowed, fix=fix)
