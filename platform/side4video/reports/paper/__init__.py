"""The paper's tables as values, and where our runs stand in them."""

from side4video.reports.paper.recognition import TABLE_2, TABLE_4, TABLE_5
from side4video.reports.paper.retrieval import TABLE_3, TABLE_6, TABLE_7, TABLE_8
from side4video.reports.paper.table import PaperColumn, PaperRow, PaperTable

TABLES = {table.name: table for table in (TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8)}
"""By the name that a command calls them by."""

__all__ = ["TABLES", "PaperColumn", "PaperRow", "PaperTable"]
