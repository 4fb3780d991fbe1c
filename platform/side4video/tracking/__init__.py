"""Where numbers go: metric records, the MLflow store, links into its pages, the machine's description.

The only package that imports mlflow, and only inside functions: that import costs over a second, and most
commands never need it.
"""
