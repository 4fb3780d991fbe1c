"""Several labels a clip."""
