"""Commands of `side4video`, each in a process that is forked from one with everything imported.

Importing takes several seconds, a fork a few milliseconds: so many calls are quick, and two begin within milliseconds.
"""

import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

FURTHER = (
    *("alembic.command", "av", "matplotlib.figure", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"),
    *("mlflow.store.workspace_aware_mixin", "pandas", "sqlalchemy.dialects.sqlite", "torch._dynamo"),
)
"""Imported by commands inside functions."""


def import_everything() -> None:
    """Import all modules of `side4video`, and what they import later; torch gets one thread: a fork has no others."""
    import side4video

    names = [found.name for found in pkgutil.walk_packages(side4video.__path__, "side4video.")]
    for name in (*names, *FURTHER):
        if not name.endswith("__main__"):
            import_module(name)
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Ended:
    """What came of a call."""

    pid: int
    code: int
    output: str
    seconds: float
    hung: bool
    left_processes: bool
    """Whether a process of its group lived on."""

    @property
    def has_traceback(self) -> bool:
        """Whether a bug's traceback was printed."""
        return "Traceback (most recent call last)" in self.output

    @property
    def sentence(self) -> str:
        """The last line that begins with `error:`."""
        lines = [line for line in self.output.replace("\r", "\n").splitlines() if line.startswith("error: ")]
        return lines[-1] if lines else ""


class ForkedCommand:
    """A call that runs; `wait` and `wait_for_all` give its end."""

    def __init__(self, call: Callable[[], object], environment: Mapping[str, str]) -> None:
        """Fork, set the environment, and call."""
        self._began, self._seconds, self._hung = time.monotonic(), 0.0, False
        self._status: int | None = None
        self._log = tempfile.NamedTemporaryFile(prefix="forked-")  # noqa: SIM115 - closed by `wait`
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._become(call, environment)

    def _become(self, call: Callable[[], object], environment: Mapping[str, str]) -> None:
        code = 1
        try:
            os.setpgrp()
            os.dup2(self._log.fileno(), 1)
            os.dup2(self._log.fileno(), 2)
            os.environ.update(environment)
            tempfile.tempdir = None
            call()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self, limit_seconds: float) -> bool:
        """Whether it has ended; after so many seconds since its start it is killed."""
        if self._status is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self._seconds = time.monotonic() - self._began
            self._status = os.waitpid(self.pid, 0)[1]
        elif self._status is None and not self._hung and time.monotonic() - self._began > limit_seconds:
            self._hung = True
            os.killpg(self.pid, signal.SIGKILL)
        return self._status is not None

    def wait(self, limit_seconds: float) -> Ended:
        """Wait for the end, see `poll`."""
        return wait_for_all([self], limit_seconds)[0]

    def end(self) -> Ended:
        """How it ended; it has ended."""
        assert self._status is not None  # noqa: S101
        left = self._end_group()
        output = Path(self._log.name).read_text(errors="replace")
        self._log.close()
        return Ended(self.pid, os.waitstatus_to_exitcode(self._status), output, self._seconds, self._hung, left)

    def _end_group(self) -> bool:
        """Whether a process of the group lives on after a moment; it is killed."""
        deadline = time.monotonic() + 5
        try:
            while time.monotonic() < deadline:
                os.killpg(self.pid, 0)
                time.sleep(0.05)
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def start_command(arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedCommand:
    """Start `side4video ARGUMENTS`."""

    def call() -> None:
        sys.argv = ["side4video", *arguments]
        from side4video.cli.main import main

        main()

    return ForkedCommand(call, environment)


def wait_for_all(commands: Sequence[ForkedCommand], limit_seconds: float) -> list[Ended]:
    """Wait for the end of all; one is killed so many seconds after its start."""
    while sum(each.poll(limit_seconds) for each in commands) < len(commands):
        time.sleep(0.01)
    return [each.end() for each in commands]
