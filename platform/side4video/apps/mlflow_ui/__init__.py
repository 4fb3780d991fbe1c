"""Open MLflow's pages over the stored runs, or serve them to several machines."""
