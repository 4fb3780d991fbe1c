"""The tables of papers as values, and the experiments that reproduce their rows.

A further table is a module with a `PaperTable`, and its name in `TABLES`: commands, documentation and tests read that.
"""

from side4video.reports.paper.recognition import TABLE_2, TABLE_4, TABLE_5
from side4video.reports.paper.retrieval import TABLE_3, TABLE_6, TABLE_7, TABLE_8
from side4video.reports.paper.table import PaperColumn, PaperRow, PaperTable
from side4video.reports.paper.transfer import BASE_TO_NOVEL, FEW_SHOT, ZERO_SHOT

_TABLES = (TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8)
PAPER_TABLES = {table.name: table for table in _TABLES}
"""Those of Side4Video's paper."""
TRANSFER_TABLES = {table.name: table for table in (ZERO_SHOT, BASE_TO_NOVEL, FEW_SHOT)}
"""Those of evaluations on other data than the training's, and of few training clips, from several papers."""
TABLES = {**PAPER_TABLES, **TRANSFER_TABLES}
"""By name, which is also the name of the command `side4video report NAME`."""

__all__ = ["PAPER_TABLES", "TABLES", "TRANSFER_TABLES", "PaperColumn", "PaperRow", "PaperTable"]
