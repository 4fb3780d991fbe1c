"""A bundle behind a table: a column of videos in, a row of labels and scores each out.

This is what MLflow calls when it loads a model that `side4video register` logged: it names this module, puts the logged
copy of this package first on the path, and hands over the bundle's folder. Nothing is pickled, and every file's
checksum is asked for. MLflow itself is not imported here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError
from side4video.inference.model import Model, load

if TYPE_CHECKING:
    import pandas as pd

VIDEO = "video"
"""The column of paths or addresses."""
INPUTS = {VIDEO: "clip.mp4"}
"""The columns of the table, each with an example."""
COLUMNS = {"video": "string", "label": "string", "score": "double", "error": "string"}
"""Of the answer, beside `labels` and `scores`: the most likely class, and why a video cannot be read, if so."""
LISTS = {"labels": "string", "scores": "double"}
"""The most likely classes, best first: a list in each row."""
TOP = 5
"""How many, by default."""


class TableModel:
    """A classifier with MLflow's `predict`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, table: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """The most likely classes of the videos in column `video`, a row each, in their order; of heads the actions.

        `params` may have `top_k`, the number of classes to name.

        Raises:
            InputError: There is no such column, or `top_k` is below 1.
        """
        import pandas as pd

        if VIDEO not in table:
            found = ", ".join(map(str, table.columns)) or "none"
            raise InputError("the table's columns", found, allowed=VIDEO, fix=f"name the column of paths `{VIDEO}`")
        top = int((params or {}).get("top_k", TOP))
        if top < 1:
            raise InputError("top_k", str(top), allowed="1 or more")
        found = self.model.predict([str(each) for each in table[VIDEO]], top=top)
        rows = [
            {
                "video": each.video,
                "label": each.labels[0][0] if each.labels else "",
                "score": each.labels[0][1] if each.labels else float("nan"),
                "labels": [name for name, _ in each.labels],
                "scores": [score for _, score in each.labels],
                "error": each.error,
            }
            for each in found
        ]
        return pd.DataFrame(rows, columns=["video", "label", "score", *LISTS, "error"])


def _load_pyfunc(data_path: str) -> TableModel:
    """What MLflow calls; on the first GPU, if there is one.

    Raises:
        InputError: The folder is no bundle, or a file of it was changed.
    """
    import torch

    return TableModel(load(Path(data_path), "cuda" if torch.cuda.is_available() else "cpu"))
