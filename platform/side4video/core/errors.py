"""Errors with messages for users.

An `InputError` ends the program with exit code 2 and one line: where, what was found, what is allowed,
the likely fix. Any other exception is a bug and keeps its traceback.
"""

from side4video.core.text import printable

MAX_PART_LENGTH = 2000
"""Characters of a part of a message: the place, what was found, what is allowed, the fix."""

MAX_LISTED = 8
"""Names of what is allowed that are read before the fix; longer lists stand behind it."""


class Side4VideoError(Exception):
    """The base of all side4video errors (exit code 1)."""

    exit_code = 1


class Interrupted(Side4VideoError):
    """The run was asked to stop and can resume from its checkpoint (exit code 143, as shells report SIGTERM)."""

    exit_code = 143


class WorkerInterrupted(Interrupted):
    """One worker's machine is preempted. All workers have saved, and the run can resume elsewhere at once."""


class Terminated(BaseException):
    """SIGTERM while nothing had to be saved (exit code 143).

    Like `KeyboardInterrupt` it is no `Exception`: libraries that a signal interrupts would take it for their own error.
    """

    exit_code = 143


class InputError(Side4VideoError):
    """An input of the user is wrong (exit code 2)."""

    exit_code = 2

    def __init__(self, where: str, found: str, *, allowed: str = "", fix: str = "") -> None:
        """Where (a YAML path, or a file and line), what was found, what is allowed, and how to fix it."""
        self.where, self.found, self.allowed, self.fix = where, found, allowed, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line; ` · ` separates the parts. A long list of what is allowed comes last, after the fix."""
        parts = [f"{_shorten(self.where)}: {_shorten(self.found)}"]
        allowed = [f"allowed: {_shorten(self.allowed)}"] if self.allowed else []
        fix = [f"fix: {_shorten(self.fix)}"] if self.fix else []
        parts += [*fix, *allowed] if self.allowed.count(", ") >= MAX_LISTED else [*allowed, *fix]
        return " · ".join(printable(" ".join(part.split())) for part in parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes (loader workers, Ray) with all four parts."""
        return (_restore_input_error, (type(self), self.where, self.found, self.allowed, self.fix))


def _shorten(text: str) -> str:
    """Begin and end of a text that nobody would read to the end."""
    if len(text) <= MAX_PART_LENGTH:
        return text
    return f"{text[: MAX_PART_LENGTH // 2]} ... {text[-MAX_PART_LENGTH // 4 :]}"


def _restore_input_error(kind: type[InputError], where: str, found: str, allowed: str, fix: str) -> InputError:
    return kind(where, found, allowed=allowed, fix=fix)
