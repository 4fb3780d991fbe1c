"""A plugin of pytest: which functions of the package each test calls, and how long the test takes.

Each process writes `$MUTATION_REACH/<pid>.json`: by test `seconds`, and `functions` as `path:first line`, relative to
the folder in which pytest was started. Functions that another process calls are not seen.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

_ROOT = f"{Path.cwd()}{os.sep}"
_SOURCE = f"{_ROOT}platform{os.sep}"
_called: set[CodeType] = set()
_reach: dict[str, dict[str, Any]] = {}


def _note(frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG001 - Python's protocol
    _called.add(frame.f_code)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch a test, its fixtures included."""
    _called.clear()
    threading.settrace(_note)
    sys.settrace(_note)
    started = time.perf_counter()
    yield
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    functions = sorted(
        f"{code.co_filename.removeprefix(_ROOT)}:{code.co_firstlineno}"
        for code in _called
        if code.co_filename.startswith(_SOURCE)
    )
    _reach[item.nodeid] = {"seconds": time.perf_counter() - started, "functions": functions}


def pytest_sessionfinish() -> None:
    """Write what was seen."""
    if _reach:
        Path(os.environ["MUTATION_REACH"], f"{os.getpid()}.json").write_text(json.dumps(_reach), encoding="utf-8")
