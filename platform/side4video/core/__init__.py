"""Basics for all packages: errors, metrics, progress, seeds, units. Imports no other package of side4video."""
