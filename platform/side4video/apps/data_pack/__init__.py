"""Pack a data set into tar shards that are quick to read."""
