"""Figures beside the tables: one module a figure, its numbers in a function of their own, and what draws them.

Importing one brings matplotlib; do it when a figure is drawn and not before.
"""
