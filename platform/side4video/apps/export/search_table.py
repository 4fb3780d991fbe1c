"""A retrieval bundle behind a table: a text and a folder of videos in, a row for each video that was found out.

This is what MLflow calls when it loads a retrieval model that `side4video register` logged; `apps.export.table` is for
classifiers. Nothing is pickled, and every file's checksum is asked for. MLflow itself is not imported here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError
from side4video.inference.retrieval import RetrievalModel, load_retrieval

if TYPE_CHECKING:
    import pandas as pd

INPUTS = {"text": "a dog catches a ball", "folder": "videos"}
"""The columns of the table, each with an example."""
COLUMNS = {"text": "string", "rank": "long", "video": "string", "score": "double"}
"""Of the answer: the videos of each text, best first."""
LISTS: dict[str, str] = {}
"""Columns of the answer with lists: none."""
TOP = 10
"""How many videos of each text, by default."""


class SearchTableModel:
    """A retrieval model with MLflow's `predict`."""

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model

    def predict(self, table: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """The videos of column `folder` that are most similar to column `text`: rows for each row of the table.

        `params` may have `top_k`, the number of videos to name.

        Raises:
            InputError: A column is missing, `top_k` is below 1, a text has no word, or a folder has no video.
        """
        import pandas as pd

        if missing := [name for name in INPUTS if name not in table]:
            found = ", ".join(map(str, table.columns)) or "none"
            raise InputError(
                "the table's columns", found, allowed=", ".join(INPUTS), fix=f"add the column {missing[0]}"
            )
        top = int((params or {}).get("top_k", TOP))
        if top < 1:
            raise InputError("top_k", str(top), allowed="1 or more")
        rows = [
            {"text": text, "rank": each.rank, "video": each.video, "score": each.score}
            for text, folder in zip(map(str, table["text"]), map(str, table["folder"]), strict=True)
            for each in self.model.search(text, folder, top=top)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _load_pyfunc(data_path: str) -> SearchTableModel:
    """What MLflow calls; on the first GPU, if there is one.

    Raises:
        InputError: The folder is no bundle, or a file of it was changed.
    """
    import torch

    return SearchTableModel(load_retrieval(Path(data_path), "cuda" if torch.cuda.is_available() else "cpu"))
