"""One training loop for a pack of students on one frozen tower. It takes objects and knows no YAML, Ray or MLflow."""
