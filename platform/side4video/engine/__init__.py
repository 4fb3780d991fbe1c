"""One training loop for a pack of students on one frozen tower. It gets objects; it knows neither YAML, Ray nor MLflow."""
