"""Where the platform keeps what it makes: runs, the tracking store, generated data sets.

One folder, the same from any working directory and in every process, because Ray workers and submitted jobs
run in directories of their own.
"""

import os
from pathlib import Path


def home() -> Path:
    """`$SIDE4VIDEO_HOME`, or `~/.side4video`; created on first use."""
    folder = Path(os.environ.get("SIDE4VIDEO_HOME") or Path.home() / ".side4video").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
