"""Rewriting a data set once, so that it is quick to read ever after: short side resized, many videos a file."""
