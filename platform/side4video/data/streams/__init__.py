"""Streams of batches: reading, prefetching, mixing."""
