"""Runs and sweeps from their YAML to their records, without Ray."""
