"""Run tracking: stores of runs (MLflow or files), what is logged, and links to MLflow's pages.

Only `tracking.mlflow` imports mlflow, and only inside functions, because the import takes over a second.
"""
