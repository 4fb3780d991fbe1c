"""Says which code of a plug-in failed, and in which line of its file."""

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from side4video.core.errors import InputError, Side4VideoError, Terminated

PASSED_ON = (Side4VideoError, PydanticCustomError, MemoryError, GeneratorExit, Terminated)
"""What code of a plug-in may raise without being at fault: our own errors, and what comes from outside."""


class PluginFault(InputError):
    """Code of a plug-in raised an error, or returned something else than it must."""


def is_fault(error: BaseException) -> bool:
    """Whether an error that came out of a plug-in's code is the plug-in's; Ctrl-C and full memory are not."""
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C interrupts the main thread only
        return threading.current_thread() is not threading.main_thread()
    return not isinstance(error, PASSED_ON) and type(error).__name__ != "OutOfMemoryError"


def plugin_file(part: type[Any]) -> str:
    """The file that has the class of a part; empty if it has none."""
    return getattr(sys.modules.get(part.__module__), "__file__", None) or ""


def raised(error: BaseException, file: str) -> str:
    """`ValueError: boom (line 40)`: an error, and where in the plug-in's own file it came up."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    line = f" (line {lines[-1]})" if file and lines and not isinstance(error, SyntaxError) else ""
    text = str(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}{line}"


def mend(source: str) -> str:
    """What to do about a fault of the plug-in in this file or module."""
    return f"mend the plug-in; side4video check-plugin {near_path(source)} tries it"


def near_path(source: str) -> str:
    """A file relative to the current folder if it is below it, else as it is."""
    try:
        return os.path.relpath(source) if Path(source).is_relative_to(Path.cwd()) else source
    except OSError:  # the current folder is gone
        return source
