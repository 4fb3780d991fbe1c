"""`side4video.presets`: the experiment files that come with the package, as a table."""

from typing import TYPE_CHECKING

from side4video.spec.presets import descriptions, preset_names

if TYPE_CHECKING:
    import pandas as pd


def presets() -> "pd.DataFrame":
    """The presets as a table, one row each; `side4video.run` and `side4video.sweep` take their names.

    Columns: `name`; `command`, `run` or `sweep`; `title`; `paper`, the table and row of the paper; `needs`, environment
    variables that name folders; `arms` of a sweep; `trainable_parameters`; `peak_memory_gib`, planned for one worker.
    """
    import pandas as pd

    known = descriptions()
    rows = [
        {
            "name": name,
            "command": known[name].command,
            "title": known[name].title,
            "paper": known[name].paper,
            "needs": ", ".join(known[name].needs),
            "arms": known[name].arms,
            "trainable_parameters": known[name].trainable_parameters,
            "peak_memory_gib": known[name].peak_memory_gib,
        }
        for name in preset_names()
        if name in known
    ]
    return pd.DataFrame(rows)
