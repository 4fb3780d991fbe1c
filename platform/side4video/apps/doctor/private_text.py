"""Leaves out of a text what a bug report should not say: secrets, home folders, user names."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side4video.tracking.redaction import redact

HOMES = re.compile(r"(?<![\w.~-])/(?:home|Users)/[^/\s:'\"]+")
"""Home folders of any user."""
VARIABLES = re.compile(
    r"SIDE4VIDEO_|MLFLOW_|RAY_|CUDA_|NVIDIA_|HF_|HUGGINGFACE_|TORCH|PYTORCH_|NCCL_|OMP_|TMPDIR$|(?:HTTPS?|NO)_PROXY$",
    re.IGNORECASE,
)
"""How names of environment variables begin that change what a run does."""


def without_private(document: Any, *, home: Path | None = None, user: str | None = None) -> Any:
    """A copy of a JSON-like document without secrets, home folders (written as `~`) and user names.

    `home` and `user` are those of this process, if they are not given.
    """
    folder = str(home or Path.home())
    name = _user_name() if user is None else user
    return _walk(redact(document), folder, name)


def environment() -> dict[str, str]:
    """The environment variables that change what a run does, without secrets."""
    return redact({name: value for name, value in sorted(os.environ.items()) if VARIABLES.match(name)})


def _user_name() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or Path.home().name


def _walk(document: Any, home: str, user: str) -> Any:
    if isinstance(document, Mapping):
        return {key: _walk(value, home, user) for key, value in document.items()}
    if isinstance(document, Sequence) and not isinstance(document, str | bytes):
        return [_walk(value, home, user) for value in document]
    return _plain(document, home, user) if isinstance(document, str) else document


def _plain(text: str, home: str, user: str) -> str:
    if len(home) > 1:  # a container's home may be `/`
        text = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", text)
    text = HOMES.sub("~", text)
    if user and user != "root":  # which names no person
        text = re.sub(rf"(?<![\w.-]){re.escape(user)}(?![\w.-])", "~", text)
    return text
