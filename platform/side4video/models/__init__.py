"""Frozen towers, and the small networks that are trained beside them.

`backbones` and `methods` hold the documents a user writes (no torch); `towers` and `networks` hold the modules
that those documents build, under the same names.
"""
