"""Frozen towers, and the small networks that are trained beside them.

`backbones` and `methods` have the documents that a user writes, without torch. `towers` and `networks` have the modules
that the documents build, under the same names.
"""
