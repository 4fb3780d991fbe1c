"""Finds scripts without `if __name__ == "__main__":`, which every process that they start runs once more.

Decoding processes are started by `spawn`: each imports the user's script, and calls outside such a block begin again.
"""

import inspect
import sys
from pathlib import Path

from side4video.core.errors import InputError

_FIX = 'put the calls below a line `if __name__ == "__main__":`, or set data.loader.workers to 0'


def check_main_guard() -> None:
    """Stop a process that began to run the script of its parent once more, before it trains or records anything.

    Raises:
        InputError: This process was started by `spawn`, and is still importing the script.
    """
    frame = inspect.currentframe()
    while frame is not None:
        # `spawn` gives the script this name in the processes that it starts.
        if frame.f_globals.get("__name__") == "__mp_main__" and frame.f_code.co_name == "<module>":
            raise _unguarded(frame.f_code.co_filename)
        frame = frame.f_back


def script_without_guard() -> InputError | None:
    """The error for the script that this process runs, if it lacks the block; None if it has it, or is no script."""
    main = sys.modules.get("__main__")
    # `python -m NAME` has a spec, and its module is not run again.
    script = None if getattr(main, "__spec__", None) else getattr(main, "__file__", None)
    try:
        text = Path(script).read_text(encoding="utf-8") if script else "__main__"
    except (OSError, UnicodeDecodeError):
        return None
    return None if "__main__" in text else _unguarded(str(script))


def _unguarded(script: str) -> InputError:
    found = "each process that decodes videos runs this script once more, up to the call that started it"
    return InputError(script, found, fix=_FIX)
