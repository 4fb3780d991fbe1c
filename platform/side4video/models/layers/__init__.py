"""Blocks shared by several networks."""
