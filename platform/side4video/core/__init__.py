"""What everything else stands on: the spec's base, errors, units, seeds. Imports nothing of ours."""
