"""`side4video init`: from videos to an experiment file that can be run."""
