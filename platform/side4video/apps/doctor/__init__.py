"""`side4video doctor`: whether this machine has what training needs."""
