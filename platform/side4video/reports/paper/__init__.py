"""The tables of papers as values, and the experiments that reproduce their rows.

A further table is a module with a `PaperTable`, and its name in `TABLES`: commands, documentation and tests read that.
"""

from side4video.reports.paper.recognition import TABLE_2, TABLE_4, TABLE_5
from side4video.reports.paper.retrieval import TABLE_3, TABLE_6, TABLE_7, TABLE_8
from side4video.reports.paper.table import PaperColumn, PaperRow, PaperTable
from side4video.reports.paper.transfer import BASE_TO_NOVEL, ZERO_SHOT

TABLES = {
    table.name: table
    for table in (TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, ZERO_SHOT, BASE_TO_NOVEL)
}
"""By name, which is also the name of the command `side4video report NAME`."""

__all__ = ["TABLES", "PaperColumn", "PaperRow", "PaperTable"]
