"""Submit runs and sweeps to a Ray cluster as jobs, and follow them."""
