"""`side4video import`: checkpoints that other systems released, as folders that this platform reads."""
