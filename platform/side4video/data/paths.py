"""Paths as users write them: `~` and `${NAME}` stand for the home folder and environment variables.

So a spec that is shared names no machine's folders: `annotations: ${CLIPS}/labels.csv`.
"""

import os
import re
from pathlib import Path

from side4video.core.errors import InputError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_path(text: str, where: str) -> Path:
    """The path with `${NAME}` and `~` filled in.

    Args:
        text: What the user wrote.
        where: Its place in the YAML, for the message.

    Raises:
        InputError: A variable is not set or empty.
    """

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise InputError(
                where,
                f"{text!r} needs the environment variable {match[1]}, which is not set",
                fix=f"export {match[1]}=/the/folder, or write the path itself",
            )
        return value

    return Path(_VARIABLE.sub(value_of, text)).expanduser()
