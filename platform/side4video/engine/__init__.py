"""One training loop for a pack of students on one frozen tower. It gets objects: no YAML, no Ray, no MLflow."""
